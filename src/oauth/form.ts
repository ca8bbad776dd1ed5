/** Value of a parameter of `REPEATABLE` that was sent more than once. No decoded value has a NUL, so no client can send it. */
export const REPEATED = '\0'

/** `resource` may occur more than once (RFC 8707 §2). grantd refuses that too, but by an error code of its own. */
const REPEATABLE = new Set(['resource'])

/** Form parameters by name, without empty ones, or why the body is not a form (RFC 6749 Appendix B). */
export type Form = ReadonlyMap<string, string> | { fault: 'malformed' | 'repeated' }

/**
 * Parses a form body so that there is one way to read it. A parameter without a value counts as absent. A parameter that
 * is repeated is a fault (RFC 6749 §3.2).
 *
 * @param body decoded from UTF-8; bytes that are not UTF-8 were replaced by U+FFFD
 */
export function parseForm(body: string): Form {
  const parameters = new Map<string, string>()
  const names = new Set<string>()
  for (const [name, value] of pairsOf(body)) {
    if (name === undefined || value === undefined) return { fault: 'malformed' }
    const isRepeated = names.has(name)
    if (isRepeated && !REPEATABLE.has(name)) return { fault: 'repeated' }
    names.add(name)
    if (isRepeated) parameters.set(name, REPEATED)
    else if (value !== '') parameters.set(name, value)
  }
  return parameters
}

/** Returns the names of the parameters in a query that have a value. Pairs that cannot be decoded are left out. */
export function namesInQuery(query: string): string[] {
  return pairsOf(query).flatMap(([name, value]) => (name === undefined || value === '' ? [] : name))
}

/** Decodes a form-encoded text. Returns undefined for a malformed escape, NUL, or bytes that are not UTF-8. */
export function formDecode(text: string): string | undefined {
  const decoded = /[%+]/.test(text) ? percentDecode(text.replaceAll('+', ' ')) : text
  return decoded === undefined || /[\0\uFFFD]/.test(decoded) ? undefined : decoded
}

function pairsOf(text: string): [name: string | undefined, value: string | undefined][] {
  return text
    .split('&')
    .filter(pair => pair !== '')
    .map(pair => {
      const equals = pair.indexOf('=')
      return equals < 0
        ? [formDecode(pair), '']
        : [formDecode(pair.slice(0, equals)), formDecode(pair.slice(equals + 1))]
    })
}

function percentDecode(text: string): string | undefined {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}
