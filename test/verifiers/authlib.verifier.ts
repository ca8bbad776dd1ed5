import { execFile } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { promisify } from 'node:util'
import t from 'tap'
import { freePort, startApp } from '../fixtures/app/app.ts'
import { leftOutFor } from '../fixtures/faults/debian.ts'
import { exampleOf } from './page.ts'
import { startProgram } from './program.ts'
import { startIssuer } from './tokens.ts'
import { holdsAgainst, verifierAt } from './verifier.ts'

/** The Python of Debian, which finds Debian's packages. */
const PYTHON = '/usr/bin/python3'

const NEEDS = {
  '/usr/lib/python3/dist-packages/authlib': 'python3-authlib',
  '/usr/lib/python3/dist-packages/requests': 'python3-requests'
}

/** Prints the type of the token for each of two requests by one client, or what the server says. */
const PROGRAM = `
import sys
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import PrivateKeyJWT

client_id, endpoint, audience, key = sys.argv[1:]
session = OAuth2Session(client_id, key, token_endpoint_auth_method='private_key_jwt')
session.register_client_auth_method(PrivateKeyJWT(audience or None, alg='ES256'))
for _ in range(2):
    try:
        print(session.fetch_token(endpoint, grant_type='client_credentials')['token_type'])
    except Exception as error:
        print(error)
`

t.test(
  'Authlib gets tokens by its key when its audience is the issuer, and its default is told what to set (RFC 10070)',
  { skip: leftOutFor(NEEDS) },
  async t => {
    const grantd = await startApp(t)
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const { clientId, path } = await grantd.register()
    const body = { publicKey: publicKey.export({ format: 'jwk' }), overlapSeconds: 0 }
    t.equal((await grantd.asAdmin('POST', `${path}/rotate-secret`, { body })).status, 201)
    const pem = privateKey.export({ format: 'pem', type: 'pkcs8' }).toString()
    const run = async (audience: string) => {
      const values = [clientId, `${grantd.baseUrl}/oauth/token`, audience, pem]
      // Authlib refuses plain http otherwise.
      const env = { ...process.env, AUTHLIB_INSECURE_TRANSPORT: '1' }
      const { stdout } = await promisify(execFile)(PYTHON, ['-c', PROGRAM, ...values], { env })
      return stdout.trim().split('\n')
    }
    t.same(await run(grantd.baseUrl), ['Bearer', 'Bearer'])
    for (const line of await run('')) {
      t.match(line, `aud must be the issuer, ${grantd.baseUrl}, and nothing else (RFC 10070).`)
    }
  }
)

t.test('Authlib verifies the tokens for its audience, scope and Site only', { skip: leftOutFor(NEEDS) }, async t => {
  const tokens = await startIssuer(t)
  const port = await freePort()
  const program = exampleOf('Python with Authlib', {
    'https://grantd.example.com': tokens.issuer,
    "('127.0.0.1', 4000)": `('127.0.0.1', ${port})`
  })
  startProgram(t, PYTHON, ['-c', program])
  await holdsAgainst(t, await verifierAt(port), tokens)
})
