import { generateKeyPairSync, randomUUID, sign } from 'node:crypto'
import formbody from '@fastify/formbody'
import Fastify from 'fastify'

/**
 * The least that any server of this stack must do, on PORT: Fastify with a form body and one ES256 signature
 * (`sign`), or with a fixed answer (`static`). No client is checked, nothing is stored.
 */
const { PORT, KIND = 'sign' } = process.env
const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const header = Buffer.from(JSON.stringify({ typ: 'at+jwt', alg: 'ES256', kid: 'bench' })).toString('base64url')
const app = Fastify()
await app.register(formbody)
app.post<{ Body: { client_id: string } }>('/oauth/token', async ({ body }) => ({
  access_token: KIND === 'sign' ? token(body.client_id) : 'static',
  token_type: 'Bearer',
  expires_in: 900
}))
await app.listen({ host: '127.0.0.1', port: Number(PORT) })
process.stdout.write('ready\n')

function token(clientId: string): string {
  const iat = Math.floor(Date.now() / 1_000)
  const claims = {
    iss: 'bench',
    sub: clientId,
    client_id: clientId,
    aud: 'bench',
    iat,
    exp: iat + 900,
    jti: randomUUID()
  }
  const input = `${header}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}`
  const signature = sign('sha256', Buffer.from(input), { key: privateKey, dsaEncoding: 'ieee-p1363' })
  return `${input}.${signature.toString('base64url')}`
}
