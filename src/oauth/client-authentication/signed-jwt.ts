import { isUtf8 } from 'node:buffer'

/** A signed JWT as it was sent (RFC 7519, RFC 7515). Nothing of it is verified yet. */
export interface SignedJwt {
  readonly header: JsonObject
  readonly claims: JsonObject
  /** The bytes that the signature covers. */
  readonly signed: Buffer
  readonly signature: Buffer
}

type JsonObject = Readonly<Record<string, unknown>>

/**
 * Parses the compact serialization of a signed JWT. Returns undefined for anything else: padding, bits that base64url
 * leaves over, bytes that are not UTF-8, an empty part, or a header or claims that are not a JSON object.
 *
 * Of members with the same name the last one counts (RFC 7515 §4, RFC 7519 §4). The signature covers all of them, and
 * nothing else reads the JWT, so that no two readers can disagree.
 */
export function parseSignedJwt(text: string): SignedJwt | undefined {
  const [header, claims, signature, ...rest] = text.split('.').map(decodeBase64url)
  if (header === undefined || claims === undefined || signature === undefined || rest.length > 0) return undefined
  const headerObject = parseObject(header)
  const claimsObject = parseObject(claims)
  if (headerObject === undefined || claimsObject === undefined) return undefined
  const signed = Buffer.from(text.slice(0, text.lastIndexOf('.')), 'latin1')
  return { header: headerObject, claims: claimsObject, signed, signature }
}

/** Decodes base64url in its one form (RFC 4648 §3.5, §5). An empty text is not accepted. */
function decodeBase64url(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64url')
  return bytes.length > 0 && bytes.toString('base64url') === text ? bytes : undefined
}

function parseObject(bytes: Buffer): JsonObject | undefined {
  if (!isUtf8(bytes)) return undefined
  try {
    const value: unknown = JSON.parse(bytes.toString())
    return isObject(value) ? value : undefined
  } catch {
    return undefined
  }
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
