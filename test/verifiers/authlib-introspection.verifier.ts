import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import t from 'tap'
import { startApp } from '../fixtures/app/app.ts'
import { registerGateway } from '../fixtures/app/introspection.ts'
import { leftOutFor } from '../fixtures/faults/debian.ts'

const NEEDS = {
  '/usr/lib/python3/dist-packages/authlib': 'python3-authlib',
  '/usr/lib/python3/dist-packages/requests': 'python3-requests'
}

/** Obtains a token, guards a resource by introspection, and revokes the token. It prints what happens at each step. */
const PROGRAM = `
import sys
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc7662 import IntrospectTokenValidator

base, gateway_id, gateway_secret, client_id, client_secret = sys.argv[1:]
gateway = OAuth2Session(gateway_id, gateway_secret)
client = OAuth2Session(client_id, client_secret)

class Validator(IntrospectTokenValidator):
    def introspect_token(self, token_string):
        return gateway.introspect_token(base + '/oauth/introspect', token=token_string).json()

def access(token, scope):
    try:
        validator = Validator()
        found = validator.authenticate_token(token)
        validator.validate_token(found, [scope], None)
        print('granted', found['client_id'] == client_id)
    except OAuth2Error as error:
        print(error.error)

token = client.fetch_token(base + '/oauth/token', grant_type='client_credentials')['access_token']
access(token, 'devices:read')
access(token, 'devices:write')
access('unknown', 'devices:read')
print(client.revoke_token(base + '/oauth/revoke', token=token).status_code)
access(token, 'devices:read')
`

t.test(
  'Authlib guards a resource by introspection and revokes a token (RFC 7662, RFC 7009)',
  { skip: leftOutFor(NEEDS) },
  async t => {
    const grantd = await startApp(t)
    const gateway = await registerGateway(grantd)
    const client = await grantd.register({ scopes: ['devices:read'] })
    const credentials = [gateway, client].flatMap(({ clientId, clientSecret }) => [clientId, clientSecret])
    // Authlib refuses plain http otherwise.
    const env = { ...process.env, AUTHLIB_INSECURE_TRANSPORT: '1' }
    const values = ['-c', PROGRAM, grantd.baseUrl, ...credentials]
    const { stdout } = await promisify(execFile)('/usr/bin/python3', values, { env })
    t.same(stdout.trim().split('\n'), ['granted True', 'insufficient_scope', 'invalid_token', '200', 'invalid_token'])
  }
)
