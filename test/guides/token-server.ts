import { once } from 'node:events'
import { createServer } from 'node:http'
import { text } from 'node:stream/consumers'
import type { Test } from 'tap'

/** An answer that is waiting for the next request. */
export interface Scripted {
  status: number
  retryAfter?: number
  /** Of a token. */
  expiresIn?: number
}

/** A token endpoint that answers as a test says. */
export interface TokenServer {
  baseUrl: string
  /** Its requests so far, and when each came, in milliseconds. */
  requests: { at: number; form: Record<string, string> }[]
  /** Appends answers. The n-th token is `token-n`. */
  will: (...answers: readonly Scripted[]) => void
}

/** Time that an answer takes, so that requests of several threads would meet. */
const ANSWER_MS = 50

export async function startTokenServer(t: Test): Promise<TokenServer> {
  const requests: TokenServer['requests'] = []
  const waiting: Scripted[] = []
  let tokens = 0
  const server = createServer(async (request, response) => {
    const at = performance.now()
    const form = Object.fromEntries(new URLSearchParams(await text(request)))
    requests.push({ at, form })
    const { status, retryAfter, expiresIn = 900 } = waiting.shift() ?? { status: 500 }
    response.statusCode = status
    response.setHeader('content-type', 'application/json')
    if (retryAfter !== undefined) response.setHeader('retry-after', retryAfter)
    const refusal = { error: 'refused', error_description: `scripted ${status}` }
    const body =
      status === 200 ? { access_token: `token-${++tokens}`, token_type: 'Bearer', expires_in: expiresIn } : refusal
    setTimeout(() => response.end(JSON.stringify(body)), ANSWER_MS)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return { baseUrl: `http://127.0.0.1:${address.port}`, requests, will: (...answers) => void waiting.push(...answers) }
}
