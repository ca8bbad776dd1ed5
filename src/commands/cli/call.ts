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
  const response = await fetch(url, {
    method,
    headers: { ...headers, ...(token !== undefined && { authorization: `Bearer ${token}` }) },
    ...(body !== undefined && { body }),
    // A token goes to the host that the caller has named, and to no other.
    redirect: 'manual',
    signal: AbortSignal.timeout(TIMEOUT_MS)
  }).catch(error => {
    const { cause = error } = error
    throw new Error(`${url.origin} cannot be reached: ${cause instanceof Error ? cause.message : String(cause)}`)
  })
  const text = await response.text()
  const isJson = /[/+]json\b/.test(response.headers.get('content-type') ?? '')
  return { status: response.status, headers: response.headers, body: isJson ? JSON.parse(text) : text }
}
