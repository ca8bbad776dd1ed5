/**
 * Whether two URIs name the same target of a request. Query and fragment are ignored (RFC 9449 §4.3). Both are normalised
 * by syntax and by scheme (RFC 3986 §6.2.2, §6.2.3): case of scheme and host, default port, dot segments, escapes.
 */
export function isSameTarget(one: string, other: string): boolean {
  if (one === other) return true
  const comparable = comparableTarget(one)
  return comparable !== undefined && comparable === comparableTarget(other)
}

/**
 * Visible ASCII characters with an authority that has no user name. The URL parser alone would also take backslashes for
 * slashes, drop blanks, and add slashes to `https:host`.
 */
const HTTP_URI = /^https?:\/\/(?![^/?#]*@)[!-[\]-~]+$/i

function comparableTarget(uri: string): string | undefined {
  if (!HTTP_URI.test(uri) || !URL.canParse(uri)) return undefined
  const { origin, pathname } = new URL(uri)
  return origin + pathname.replace(/%[\da-f]{2}/gi, normaliseEscape)
}

/** An escape of a character that needs none is that character, and hexadecimal digits are in upper case. */
function normaliseEscape(escaped: string): string {
  const character = String.fromCharCode(Number.parseInt(escaped.slice(1), 16))
  return /[\w.~-]/.test(character) ? character : escaped.toUpperCase()
}
