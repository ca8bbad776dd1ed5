import { createLocalJWKSet, decodeProtectedHeader, jwtVerify } from 'jose'
import t from 'tap'
import { startApp } from '../../fixtures/app/app.ts'

for (const algorithm of ['ES256', 'RS256', 'EdDSA']) {
  // [TOKEN-16]
  t.test(`an access token is a JWT by RFC 9068, verified by jose (${algorithm})`, async t => {
    const environment = { SIGNING_ALGORITHM: algorithm, ACCESS_TOKEN_AUDIENCE: 'https://api.example.com' }
    const grantd = await startApp(t, { environment })
    const { clientId, clientSecret } = await grantd.register({ scopes: ['devices:read'] })
    const before = Math.floor(Date.now() / 1_000)
    const { access_token: token } = (await grantd.exchange({ clientId, clientSecret })).json()
    const keys = createLocalJWKSet((await grantd.send('GET', '/.well-known/jwks.json')).json())
    const { payload, protectedHeader } = await jwtVerify(token, keys, {
      issuer: grantd.baseUrl,
      audience: 'https://api.example.com',
      typ: 'at+jwt',
      algorithms: [algorithm]
    })
    t.same(Object.keys(protectedHeader).sort(), ['alg', 'kid', 'typ'])
    const { exp = 0, iat = 0, jti, ...rest } = payload
    t.same(rest, {
      iss: grantd.baseUrl,
      sub: clientId,
      client_id: clientId,
      aud: 'https://api.example.com',
      site: 'acme',
      scope: 'devices:read'
    })
    t.equal(exp - iat, 900)
    t.ok(iat >= before && iat <= Math.floor(Date.now() / 1_000))
    t.match(jti, /^[0-9a-f-]{36}$/)
    const again = (await grantd.exchange({ clientId, clientSecret })).json().access_token
    t.not((await jwtVerify(again, keys)).payload.jti, jti, 'jti is never the same')
  })
}

t.test('the lifetime and the audience are configured; by default the audience is the issuer', async t => {
  const grantd = await startApp(t, {
    environment: { ACCESS_TOKEN_TTL_SECONDS: '60', ISSUER: 'https://grantd.example' }
  })
  const token = (await grantd.exchange(await grantd.register())).json()
  t.equal(token.expires_in, 60)
  const keys = createLocalJWKSet((await grantd.send('GET', '/.well-known/jwks.json')).json())
  const { payload } = await jwtVerify(token.access_token, keys)
  t.match(payload, { iss: 'https://grantd.example', aud: 'https://grantd.example' })
  t.notOk('scope' in payload)
})

t.test('the kid of a token is a key of the JWKS', async t => {
  const grantd = await startApp(t)
  const { access_token: token } = (await grantd.exchange(await grantd.register())).json()
  const { keys } = (await grantd.send('GET', '/.well-known/jwks.json')).json()
  t.same(
    keys.map(({ kid }: { kid: string }) => kid),
    [decodeProtectedHeader(token).kid]
  )
})
