import t from 'tap'
import { basic } from '../fixtures/app/grantd.ts'
import { startIssuer } from './tokens.ts'

/** Spring itself is not run: the registries that the tests may use do not have it. */

t.test('the requests that Spring Security documents for JWT get what its decoder needs', async t => {
  const { grantd, issuer } = await startIssuer(t)
  const metadata = await grantd.send('GET', '/.well-known/openid-configuration', {
    headers: { accept: 'application/json, application/*+json' }
  })
  t.match(metadata.headers['content-type'], /^application\/json/)
  t.match(metadata.json(), { issuer, jwks_uri: `${issuer}/.well-known/jwks.json` })
  const keys = await grantd.send('GET', '/.well-known/jwks.json', {
    headers: { accept: 'application/json, application/jwk-set+json' }
  })
  t.equal(keys.status, 200)
  t.match(keys.json().keys, [{ kty: 'EC', alg: 'ES256', use: 'sig', kid: String }])
})

t.test('the request that Spring Security documents for introspection gets what it needs (RFC 7662 §2.2)', async t => {
  const { grantd, good, rejected } = await startIssuer(t)
  const gateway = await grantd.register({ mayIntrospect: true })
  const introspect = (token: string) =>
    grantd.send('POST', '/oauth/introspect', {
      headers: {
        authorization: basic(gateway.clientId, gateway.clientSecret),
        accept: 'application/json',
        'content-type': 'application/x-www-form-urlencoded;charset=UTF-8'
      },
      body: new URLSearchParams({ token }).toString()
    })
  const answer = await introspect(good)
  t.equal(answer.status, 200)
  t.match(answer.headers['content-type'], /^application\/json/)
  t.match(answer.json(), { active: true, client_id: String, exp: Number, iat: Number, iss: String, aud: String })
  t.equal((await introspect(String(rejected['an expired token']))).text, '{"active":false}')
})
