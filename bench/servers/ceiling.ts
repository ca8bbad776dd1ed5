import formbody from '@fastify/formbody'
import Fastify from 'fastify'
import { signedToken } from './signed-token.ts'

/**
 * The least that any server of this stack must do, on PORT: Fastify with a form body, and one ES256 signature for each
 * token (`KIND=sign`) or a fixed answer (`KIND=static`). It checks no client and stores nothing.
 *
 * All tokens that were requested in one turn of the event loop are signed one after the other. The tables of OpenSSL
 * then stay in the processor's cache, so this ceiling is higher than one that signs inside each request.
 */
const { PORT, KIND = 'sign' } = process.env
const app = Fastify()
await app.register(formbody)
app.post<{ Body: { client_id: string } }>('/oauth/token', async ({ body }) => ({
  access_token: KIND === 'sign' ? await signInTurn(body.client_id) : 'static',
  token_type: 'Bearer',
  expires_in: 900
}))
await app.listen({ host: '127.0.0.1', port: Number(PORT) })

let waiting: { clientId: string; resolve: (token: string) => void }[] = []

function signInTurn(clientId: string): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>()
  if (waiting.length === 0) setImmediate(signAll)
  waiting.push({ clientId, resolve })
  return promise
}

function signAll(): void {
  const batch = waiting
  waiting = []
  for (const { clientId, resolve } of batch) resolve(signedToken(clientId))
}
