import { createLocalJWKSet, createRemoteJWKSet, decodeJwt, decodeProtectedHeader, jwtVerify } from 'jose'
import t from 'tap'
import { startApp } from '../fixtures/app/app.ts'
import { registerKeyClient, requestWithAssertion } from '../fixtures/app/assertion.ts'
import { basic, type Grantd } from '../fixtures/app/grantd.ts'
import { clause } from './clause.ts'

/** Access tokens by RFC 9068, RFC 8707 and RFC 7519, their keys by RFC 7517, and the metadata by RFC 8414. */

const METADATA = '/.well-known/oauth-authorization-server'
const grantd = await startApp(t)
const client = await grantd.register({ scopes: ['devices:read'] })
const [DEVICES, BILLING] = ['https://devices.example', 'https://billing.example']
const withAudiences = await grantd.register({ audiences: [DEVICES, BILLING] })

/** A token request of a registration for two resources, with these parameters. */
function requestFor(parameters: string) {
  const credentials = `client_id=${withAudiences.clientId}&client_secret=${withAudiences.clientSecret}`
  return grantd.send('POST', '/oauth/token', {
    body: `grant_type=client_credentials&${credentials}&${parameters}`,
    headers: { 'content-type': 'application/x-www-form-urlencoded' }
  })
}

async function isInvalidTarget(parameters: string): Promise<boolean> {
  const { status, json } = await requestFor(parameters)
  return status === 400 && json().error === 'invalid_target'
}

async function accessToken(of: Grantd = grantd, by = client): Promise<string> {
  return (await of.exchange(by)).json().access_token
}

async function metadata(of: Grantd = grantd) {
  return (await of.send('GET', METADATA)).json()
}

clause('9068 §2.1 typ', async t => {
  const { typ, alg } = decodeProtectedHeader(await accessToken())
  t.equal(typ, 'at+jwt')
  t.equal(alg, 'ES256')
})

clause('9068 §2.1 rs256', async t => {
  const rs256 = await startApp(t, { environment: { SIGNING_ALGORITHM: 'RS256' } })
  const token = await accessToken(rs256, await rs256.register())
  t.equal(decodeProtectedHeader(token).alg, 'RS256')
  const jwks = (await rs256.send('GET', '/.well-known/jwks.json')).json()
  t.ok(await jwtVerify(token, createLocalJWKSet(jwks)))
})

clause('9068 §2.2 claims', async t => {
  const payload = decodeJwt(await accessToken())
  for (const claim of ['iss', 'exp', 'aud', 'sub', 'client_id', 'iat', 'jti']) t.ok(payload[claim], claim)
})

clause('9068 §2.2.3 scope', async t => {
  t.equal(decodeJwt(await accessToken())['scope'], 'devices:read')
})

clause('9068 §3 audience', async t => {
  t.equal(decodeJwt(await accessToken()).aud, (await metadata()).issuer)
})

clause('9068 §3 resource', async t => {
  for (const resource of [BILLING, DEVICES]) {
    t.equal(decodeJwt((await requestFor(`resource=${resource}`)).json().access_token).aud, resource)
  }
})

clause('9068 §3 subset', async t => {
  t.ok(await isInvalidTarget('resource=https://other.example'))
})

clause('8707 §2 absolute', async t => {
  for (const resource of ['devices.example', '/devices', `${DEVICES}%23fragment`]) {
    t.ok(await isInvalidTarget(`resource=${resource}`), resource)
  }
})

clause('8707 §2 invalid-target', async t => {
  for (const resource of ['https://other.example', `${DEVICES}/other`, 'x']) {
    t.ok(await isInvalidTarget(`resource=${resource}`), resource)
  }
})

clause('8707 §2 repeated', async t => {
  t.ok(await isInvalidTarget(`resource=${DEVICES}&resource=${BILLING}`))
})

clause('8707 §2.2 audience', async t => {
  t.equal(decodeJwt((await requestFor(`resource=${BILLING}`)).json().access_token).aud, BILLING)
})

clause('9068 §4 verifies', async t => {
  const { jwks_uri: jwksUri, issuer } = await metadata()
  const options = { issuer, audience: issuer, typ: 'at+jwt' }
  t.ok(await jwtVerify(await accessToken(), createRemoteJWKSet(new URL(jwksUri)), options))
})

clause('9068 §5 sub', async t => {
  const payload = decodeJwt(await accessToken())
  t.equal(payload.sub, client.clientId)
  t.equal(payload['client_id'], client.clientId)
})

clause('7519 §2 numeric-date', async t => {
  const { iat, exp } = decodeJwt(await accessToken())
  t.ok(Number.isInteger(iat) && Number.isInteger(exp))
  t.ok(Math.abs(Number(iat) - Date.now() / 1_000) < 60)
})

clause('7519 §4.1.7 jti', async t => {
  const tokens = await Promise.all(Array.from({ length: 100 }, () => accessToken()))
  t.equal(new Set(tokens.map(token => decodeJwt(token).jti)).size, 100)
})

clause('7517 §4 members', async t => {
  const { keys } = (await grantd.send('GET', '/.well-known/jwks.json')).json()
  t.ok(keys.length > 0)
  for (const key of keys) t.match(key, { kty: 'EC', use: 'sig', alg: 'ES256', kid: /./ })
  t.equal(new Set(keys.map(({ kid }: { kid: string }) => kid)).size, keys.length)
})

clause('7517 §5 keys', async t => {
  t.ok(Array.isArray((await grantd.send('GET', '/.well-known/jwks.json')).json().keys))
})

clause('7517 §9.2 private', async t => {
  const { keys } = (await grantd.send('GET', '/.well-known/jwks.json')).json()
  for (const key of keys) {
    for (const member of ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k']) t.notOk(member in key, member)
  }
})

clause('8414 §2 members', async t => {
  const { issuer, token_endpoint: endpoint, jwks_uri: jwksUri, response_types_supported: types } = await metadata()
  for (const url of [issuer, endpoint, jwksUri]) t.ok(URL.canParse(url), url)
  t.ok(Array.isArray(types))
})

clause('8414 §2 issuer', async t => {
  const { search, hash } = new URL((await metadata()).issuer)
  t.equal(search + hash, '')
})

clause('8414 §2 methods', async t => {
  const form = { client_id: client.clientId, client_secret: client.clientSecret }
  const requests: Record<string, () => ReturnType<Grantd['send']>> = {
    client_secret_basic: () => grantd.requestToken({}, { authorization: basic(client.clientId, client.clientSecret) }),
    client_secret_post: () => grantd.requestToken(form),
    private_key_jwt: async () => requestWithAssertion(grantd, await (await registerKeyClient(grantd)).sign())
  }
  const { token_endpoint_auth_methods_supported: methods } = await metadata()
  t.ok(methods.length > 0)
  for (const method of methods) t.equal((await requests[method]?.())?.status, 200, method)
})

clause('8414 §2 revocation', async t => {
  const found = await metadata()
  for (const name of ['introspection', 'revocation']) {
    t.equal((await grantd.send('POST', new URL(found[`${name}_endpoint`]).pathname)).status, 400)
    t.same(found[`${name}_endpoint_auth_methods_supported`], found.token_endpoint_auth_methods_supported)
    t.same(
      found[`${name}_endpoint_auth_signing_alg_values_supported`],
      found.token_endpoint_auth_signing_alg_values_supported
    )
  }
})

clause('8414 §3 get', async t => {
  t.equal((await grantd.send('GET', METADATA)).status, 200)
})

clause('8414 §3.1 path', async t => {
  const issuer = 'https://example.com/grantd'
  const behindPath = await startApp(t, { environment: { ISSUER: issuer } })
  t.equal((await behindPath.send('GET', `${METADATA}/grantd`)).json().issuer, issuer)
})

clause('8414 §3.2 json', async t => {
  const { status, headers } = await grantd.send('GET', METADATA)
  t.equal(status, 200)
  t.match(headers['content-type'], /^application\/json\b/)
})

clause('8414 §3.2 empty', async t => {
  const empty = Object.entries(await metadata()).filter(([, value]) => Array.isArray(value) && value.length === 0)
  // §2 requires this member, and no response type exists without an authorization endpoint.
  t.same(
    empty.map(([name]) => name),
    ['response_types_supported']
  )
})

clause('8414 §3.3 identical', async t => {
  t.equal(decodeJwt(await accessToken()).iss, (await metadata()).issuer)
})
