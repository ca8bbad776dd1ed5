import { createServer } from 'node:http'
import t, { type Test } from 'tap'
import { admit } from '../../bench/contestants/admission.ts'
import { freePort } from '../../bench/contestants/processes.ts'
import { tokenRequest } from '../../bench/generator/connection.ts'

const CLAIMS = { sub: 'client', iat: 1_000, exp: 1_900 }

/** Starts a server that issues this token to everyone, or only to clients with the right secret. */
async function contestant(t: Test, token: { alg?: string; claims?: object }, checksSecret = true) {
  const { alg = 'ES256', claims = CLAIMS } = token
  const encode = (part: object): string => Buffer.from(JSON.stringify(part)).toString('base64url')
  const body = JSON.stringify({ access_token: `${encode({ alg })}.${encode(claims)}.signature` })
  const server = createServer(async (request, response) => {
    const form = new URLSearchParams(String(Buffer.concat(await request.toArray())))
    const isRight = !checksSecret || form.get('client_secret') === 'secret'
    response.writeHead(isRight ? 200 : 401).end(isRight ? body : '{}')
  })
  const port = await freePort()
  await new Promise<void>(resolve => server.listen(port, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  return {
    name: 'contestant',
    command: { args: [], environment: {} },
    server: { ports: [port], pid: 0, cpu: () => 0, residentMiB: () => 0, stop: async () => {} },
    requests: [tokenRequest('/token', 'client', 'secret')],
    databaseUrl: undefined
  }
}

t.test('a server that issues an ES256 token of 15 minutes and rejects a wrong secret is admitted', async t => {
  await t.resolves(admit(await contestant(t, {})))
})

t.test('a server that saves on the signature, the client, the lifetime or the secret is not admitted', async t => {
  await t.rejects(admit(await contestant(t, { alg: 'HS256' })), /another kind of token/)
  await t.rejects(admit(await contestant(t, { claims: { ...CLAIMS, sub: 'someone' } })), /another kind of token/)
  await t.rejects(admit(await contestant(t, { claims: { ...CLAIMS, exp: 5_000 } })), /another kind of token/)
  await t.rejects(admit(await contestant(t, {}, false)), /answers 200 to a wrong secret/)
})
