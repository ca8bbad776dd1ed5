import t from 'tap'
import { privateKeyJwt } from '../../../src/oauth/client-authentication/client-assertion.ts'
import { caught } from '../../fixtures/run/caught.ts'

const TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'
const CLIENT = 'k3v9x2m7q1w8z5t4r6y0'

const encoded = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
const jwt = (claims: object) => `${encoded({ alg: 'ES256' })}.${encoded(claims)}.AAAA`
const own = jwt({ iss: CLIENT, sub: CLIENT })
const foreign = jwt({ iss: 'https://issuer.example', sub: 'a workload' })

const read = (parameters: Record<string, string>) =>
  privateKeyJwt.read(undefined, new Map(Object.entries({ client_assertion_type: TYPE, ...parameters })))

t.test('an assertion that the client has made itself names the client, with and without client_id', async t => {
  for (const parameters of [{ client_assertion: own }, { client_assertion: own, client_id: CLIENT }]) {
    t.match(read(parameters), { clientId: CLIENT, credential: { kind: 'assertion', isOwn: true } })
  }
  t.equal(read({ client_assertion: own, client_id: 'another' }).clientId, CLIENT, 'the caller compares the two')
})

t.test('a token of another issuer needs client_id', async t => {
  t.match(read({ client_assertion: foreign, client_id: CLIENT }), {
    clientId: CLIENT,
    credential: { kind: 'assertion', isOwn: false, assertion: { claims: { sub: 'a workload' } } }
  })
  t.match(
    caught(() => read({ client_assertion: foreign })),
    { status: 401, reason: 'assertion_issuer' }
  )
})

t.test(
  'an assertion without a client, of another type, malformed or over 8 KiB is refused as a wrong secret is',
  async t => {
    const long = (length: number) => {
      const claims = jwt({ iss: CLIENT, sub: CLIENT, x: '' })
      return jwt({ iss: CLIENT, sub: CLIENT, x: 'x'.repeat(Math.floor(((length - claims.length) * 3) / 4)) })
    }
    t.ok(long(8_192).length > 8_185 && long(8_192).length <= 8_192)
    t.ok(read({ client_assertion: long(8_192) }))
    for (const [parameters, reason] of [
      [{ client_assertion: own, client_assertion_type: `${TYPE} ` }, 'assertion_type'],
      [{ client_assertion: own, client_assertion_type: TYPE.toUpperCase() }, 'assertion_type'],
      [{ client_assertion: own, client_assertion_type: TYPE.replace('jwt', 'saml2') }, 'assertion_type'],
      [{}, 'malformed_assertion'],
      [{ client_assertion: 'junk' }, 'malformed_assertion'],
      [{ client_assertion: long(8_200) }, 'malformed_assertion'],
      [{ client_assertion: jwt({}) }, 'assertion_issuer'],
      [{ client_assertion: jwt({ iss: 1, sub: 1 }) }, 'assertion_issuer'],
      [{ client_assertion: jwt({ iss: [CLIENT], sub: [CLIENT] }) }, 'assertion_issuer'],
      [{ client_assertion: jwt({ iss: CLIENT }) }, 'assertion_issuer'],
      [{ client_assertion: jwt({ sub: CLIENT }) }, 'assertion_issuer']
    ] as const) {
      t.match(
        caught(() => read(parameters)),
        { status: 401, code: 'invalid_client', message: 'Client authentication failed.', reason },
        JSON.stringify(parameters).slice(0, 200)
      )
    }
  }
)
