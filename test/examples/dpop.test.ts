import t, { type Test } from 'tap'
import { startApp } from '../fixtures/app/app.ts'
import { makeClientKey } from '../fixtures/app/assertion.ts'
import { type DevicesApi, startDevicesApi } from '../fixtures/app/devices-api.ts'
import { proofFor } from '../fixtures/app/dpop.ts'
import { type Answer, send } from '../fixtures/app/grantd.ts'

const key = await makeClientKey()
const other = await makeClientKey()

/** A resource server, with a token for it that is bound to `key`, and a bearer token. */
async function start(t: Test) {
  const grantd = await startApp(t)
  const api = await startDevicesApi(t, grantd.baseUrl)
  const { clientId, clientSecret } = await grantd.register({ scopes: ['devices:read'], audiences: [api.audience] })
  const credentials = { client_id: clientId, client_secret: clientSecret }
  const tokenOf = (answer: Answer): string => answer.json().access_token
  const bound = tokenOf(await grantd.requestToken(credentials, { dpop: proofFor(grantd, key) }))
  return { grantd, api, bound, bearer: tokenOf(await grantd.requestToken(credentials)), credentials, tokenOf }
}

const call = ({ request }: DevicesApi, token: string, dpop: string | string[] | undefined, query = '') =>
  request({ authorization: `DPoP ${token}`, ...(dpop !== undefined && { dpop }) }, query)

function refused(t: Test, answer: Answer, error: string, message: string): void {
  t.equal(answer.status, 401, message)
  t.match(answer.headers['www-authenticate'], new RegExp(`DPoP error="${error}", algs="ES256 EdDSA Ed25519 PS256"`))
}

t.test('a bound token works with a proof by its key for this request and this token (RFC 9449 §7.1)', async t => {
  const { api, bound, credentials, grantd, tokenOf } = await start(t)
  t.equal((await call(api, bound, api.prove(key, bound))).status, 200)
  for (const scheme of ['dpop', 'dPoP', 'DPOP']) {
    const headers = { authorization: `${scheme} ${bound}`, DPOP: api.prove(key, bound) }
    t.equal((await api.request(headers)).status, 200, scheme)
  }
  for (const alg of ['EdDSA', 'PS256'] as const) {
    const own = await makeClientKey(alg)
    const token = tokenOf(await grantd.requestToken(credentials, { dpop: proofFor(grantd, own) }))
    t.equal((await call(api, token, api.prove(own, token))).status, 200, alg)
  }
  const { audience } = api
  for (const htu of [
    `${audience}/sites/acme/devices?a#b`,
    `${audience}/sites/acme/devices`.replace('http', 'HTTP'),
    `${audience}/sites/acme/./devices`
  ]) {
    t.equal((await call(api, bound, api.prove(key, bound, { htu }), '?a=b')).status, 200, htu)
  }
})

t.test('a bound token is none under the scheme Bearer, and a bearer token is none under DPoP (§7.1, §7.2)', async t => {
  const { api, bound, bearer } = await start(t)
  for (const headers of [
    { authorization: `Bearer ${bound}` },
    { authorization: `bearer ${bound}`, dpop: api.prove(key, bound) }
  ]) {
    const answer = await api.request(headers)
    t.equal(answer.status, 401)
    t.match(answer.headers['www-authenticate'], /^Bearer error="invalid_token"/)
  }
  t.equal((await api.request({ authorization: `Bearer ${bearer}` })).status, 200)
  refused(t, await call(api, bearer, api.prove(key, bearer)), 'invalid_token', 'a bearer token')
  t.equal((await api.request({}, `?access_token=${bound}`)).status, 401, 'a token in the query (RFC 6750 §2.3)')
})

t.test('each check of a proof refuses what it must (RFC 9449 §4.3)', async t => {
  const { api, bound, credentials, grantd, tokenOf } = await start(t)
  const second = tokenOf(await grantd.requestToken(credentials, { dpop: proofFor(grantd, key) }))
  const now = Math.floor(Date.now() / 1_000)
  const good = api.prove(key, bound)
  const [header = '', claims = '', signature = ''] = good.split('.')
  const rs256 = await makeClientKey('RS256')
  const forRs256 = tokenOf(await grantd.requestToken(credentials, { dpop: proofFor(grantd, rs256) }))
  for (const [what, proof] of Object.entries({
    'no proof': undefined,
    'an empty one': '',
    'two of them': [good, api.prove(key, bound)],
    'the same twice': [good, good],
    'no JWT': `${header}.${claims}`,
    'another signature': `${header}.${claims}.${signature.replace(/.{8}$/, 'AAAAAAAA')}`,
    'no typ': api.prove(key, bound, {}, { typ: undefined }),
    'another typ': api.prove(key, bound, {}, { typ: 'JWT' }),
    'no alg': api.prove(key, bound, {}, { alg: undefined }),
    'alg none': api.prove(key, bound, {}, { alg: 'none' }),
    'no jwk': api.prove(key, bound, {}, { jwk: undefined }),
    'a private key': api.prove(key, bound, {}, { jwk: key.privateKey.export({ format: 'jwk' }) }),
    'a text for a jwk': api.prove(key, bound, {}, { jwk: 'x' }),
    crit: api.prove(key, bound, {}, { crit: ['x'], x: 1 }),
    'no jti': api.prove(key, bound, { jti: undefined }),
    'an empty jti': api.prove(key, bound, { jti: '' }),
    'a long jti': api.prove(key, bound, { jti: 'x'.repeat(256) }),
    'a jti that is no text': api.prove(key, bound, { jti: 1 }),
    'no htm': api.prove(key, bound, { htm: undefined }),
    'another method': api.prove(key, bound, { htm: 'PUT' }),
    'no htu': api.prove(key, bound, { htu: undefined }),
    'an htu that is no URL': api.prove(key, bound, { htu: 'x' }),
    'another URL': api.prove(key, bound, { htu: `${api.audience}/sites/umbrella/devices` }),
    'another host': api.prove(key, bound, { htu: 'http://evil.example/sites/acme/devices' }),
    'no iat': api.prove(key, bound, { iat: undefined }),
    'an old iat': api.prove(key, bound, { iat: now - 120 }),
    'a late iat': api.prove(key, bound, { iat: now + 60 }),
    'no ath': api.prove(key, bound, { ath: undefined }),
    'the ath of another token': api.prove(key, second),
    'another key': api.prove(other, bound)
  })) {
    refused(t, await call(api, bound, proof), 'invalid_dpop_proof', what)
  }
  refused(t, await call(api, forRs256, api.prove(rs256, forRs256)), 'invalid_dpop_proof', 'RS256 (FAPI 2.0 §5.4.1)')
  t.equal((await call(api, bound, good)).status, 200, 'none of them has used up the good one')
})

t.test('a proof is accepted once, and its id once for each key', async t => {
  const { api, bound, credentials, grantd, tokenOf } = await start(t)
  const proof = api.prove(key, bound)
  t.equal((await call(api, bound, proof)).status, 200)
  refused(t, await call(api, bound, proof), 'invalid_dpop_proof', 'sent again')
  refused(t, await call(api, bound, proof, '?a'), 'invalid_dpop_proof', 'sent again with a query')
  const jti = 'the same'
  t.equal((await call(api, bound, api.prove(key, bound, { jti }))).status, 200)
  refused(t, await call(api, bound, api.prove(key, bound, { jti })), 'invalid_dpop_proof', 'a new proof, the same id')
  const ofOther = tokenOf(await grantd.requestToken(credentials, { dpop: proofFor(grantd, other) }))
  t.equal((await call(api, ofOther, api.prove(other, ofOther, { jti }))).status, 200, 'the id of another key')
})

t.test('a bound token still needs the right Site, and the metadata list the algorithms (RFC 9728 §2)', async t => {
  const { api, bound } = await start(t)
  const url = `${api.audience}/sites/umbrella/devices`
  const headers = { authorization: `DPoP ${bound}`, dpop: api.prove(key, bound, { htu: url }) }
  const answer = await send('GET', url, { headers })
  t.equal(answer.status, 403)
  t.match(answer.headers['www-authenticate'], /DPoP error="insufficient_scope", scope="devices:read"/)
  const metadata = await send('GET', `${api.audience}/.well-known/oauth-protected-resource`)
  t.same(metadata.json().dpop_signing_alg_values_supported, ['ES256', 'EdDSA', 'Ed25519', 'PS256'])
})
