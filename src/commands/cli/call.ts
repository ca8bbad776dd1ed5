import type { Answer } from './answer.ts'
import type { Request } from './request.ts'

const TIMEOUT_MS = 60_000

/**
 * Sends a request.
 *
 * @param token sent as a bearer token. Undefined sends none
 * @throws Error that says that grantd cannot be reached, and why
 */
export async function call({ method, url, headers, body }: Request, token: string | undefined): Promise<Answer> {
  try {
    const response = await fetch(url, {
      method,
      headers: { ...headers, ...(token !== undefined && { authorization: `Bearer ${token}` }) },
      ...(body !== undefined && { body }),
      // A token goes to the host that the caller has named, and to no other.
      redirect: 'manual',
      signal: AbortSignal.timeout(TIMEOUT_MS)
    })
    return { status: response.status, headers: response.headers, body: bodyOf(response, await response.text()) }
  } catch (error) {
    throw new Error(`${url.origin} cannot be reached: ${reasonOf(error)}`)
  }
}

/** Returns what the JSON says. A text that is no JSON stays a text, although its media type promises it. */
function bodyOf({ headers }: Response, text: string): unknown {
  if (!/[/+]json\b/.test(headers.get('content-type') ?? '')) return text
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

function reasonOf(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error
  if (!(cause instanceof Error)) return String(cause)
  const code = 'code' in cause ? String(cause.code) : ''
  if (code === 'EPROTO' || code.startsWith('ERR_SSL_')) {
    return 'the port does not speak TLS. A URL with http:// is for such a port'
  }
  return cause.message
}
