import { readFileSync } from 'node:fs'
import path from 'node:path'
import t, { type Test } from 'tap'
import { startApp } from '../fixtures/app/app.ts'
import {
  type ClientKey,
  claimsOf,
  type KeyClient,
  makeClientKey,
  registerKeyClient,
  requestWithAssertion,
  signAssertion
} from '../fixtures/app/assertion.ts'
import { startDevicesApi } from '../fixtures/app/devices-api.ts'
import { proofClaims, signProof } from '../fixtures/app/dpop.ts'
import type { Answer } from '../fixtures/app/grantd.ts'
import { ROOT } from '../fixtures/run/paths.ts'

/**
 * The modules of the OpenID conformance suite for FAPI 2.0 with client credentials, private keys and DPoP, ported:
 * fapi2-security-profile-final-client-credentials-grant-test-plan. docs/security/fapi.md lists them.
 *
 * The suite calls a resource server with each token. Here that is examples/devices-api.
 */

const grantd = await startApp(t)
const api = await startDevicesApi(t, grantd.baseUrl)
const members = { scopes: ['devices:read'], audiences: [api.audience], dpopBound: true }

/** A client of the suite: it authenticates by one key, and proves possession of another. */
interface Client extends KeyClient {
  dpopKey: ClientKey
}

// The module about RS256 is skipped unless the first client has an RSA key, and one check unless its DPoP key is RSA.
const client: Client = {
  ...(await registerKeyClient(grantd, members, { key: await makeClientKey('PS256') })),
  dpopKey: await makeClientKey('PS256')
}
const client2: Client = { ...(await registerKeyClient(grantd, members)), dpopKey: await makeClientKey('ES256') }

const modules: string[] = []

/** Runs the test of one module. @param name as the suite has it, without `fapi2-security-profile-final-` */
function conformanceModule(name: string, requirement: string, test: (t: Test) => Promise<unknown>): void {
  const full = `fapi2-security-profile-final-${name}`
  modules.push(full)
  t.test(`[${full}] ${requirement}`, test)
}

const seconds = () => Math.floor(Date.now() / 1_000)

function tokenProof({ dpopKey }: Client, claims: object = {}): string {
  return signProof(dpopKey, proofClaims(`${grantd.baseUrl}/oauth/token`, Date.now(), { ...claims }))
}

/** A token request as the suite makes it. */
async function requestToken(
  by: Client,
  assertion?: string,
  dpop: string | undefined = tokenProof(by)
): Promise<Answer> {
  return requestWithAssertion(grantd, assertion ?? (await by.sign()), {}, { dpop })
}

/** What the suite checks about each successful answer of the token endpoint. @returns the access token */
function checkToken(t: Test, answer: Answer): string {
  t.equal(answer.status, 200, answer.text)
  const { access_token: token, expires_in: expiresIn, token_type: type, ...rest } = answer.json()
  t.equal(type, 'DPoP')
  t.ok(Number.isInteger(expiresIn) && expiresIn > 0)
  t.same(Object.keys(rest), ['scope'], 'neither a refresh token nor an ID token')
  t.ok(token.length >= 22 && entropyOf(token) >= 96, 'the suite demands 128 bits, and measures 96 by Shannon')
  return token
}

function entropyOf(text: string): number {
  const counts = new Map<string, number>()
  for (const character of text) counts.set(character, (counts.get(character) ?? 0) + 1)
  return [...counts.values()].reduce((bits, count) => bits - count * Math.log2(count / text.length), 0)
}

function call(token: string, dpop: string, headers: Record<string, string> = {}): Promise<Answer> {
  return api.request({ authorization: `DPoP ${token}`, dpop, ...headers })
}

function checkResource(t: Test, answer: Answer, message = ''): void {
  t.equal(answer.status, 200, message)
  t.ok(answer.headers['date'])
}

/** Gets a token and calls the resource, with these claims in both proofs. */
async function performFlow(t: Test, by: Client, claims: object = {}): Promise<string> {
  const token = checkToken(t, await requestToken(by, undefined, tokenProof(by, claims)))
  checkResource(t, await call(token, api.prove(by.dpopKey, token, { ...claims })))
  return token
}

/** What the suite checks about each error of the token endpoint: 401 is for `invalid_client` only. */
function checkError(t: Test, answer: Answer, ...allowed: string[]): void {
  const { error, error_description: description, error_uri: uri } = answer.json()
  t.ok(allowed.includes(error), answer.text)
  t.ok(answer.status === 400 || (answer.status === 401 && error === 'invalid_client'), String(answer.status))
  t.match(answer.headers['content-type'], /^application\/json/)
  for (const text of [error, description]) t.match(text, /^[ !#-[\]-~]+$/)
  t.equal(uri, undefined)
}

conformanceModule('discovery-end-point-verification', 'the metadata has what the profile requires', async t => {
  const { status, headers, json } = await grantd.send('GET', '/.well-known/oauth-authorization-server')
  t.equal(status, 200)
  t.match(headers['content-type'], /^application\/json/)
  const metadata = json()
  t.equal(metadata.issuer, grantd.baseUrl)
  t.equal(metadata.token_endpoint, `${grantd.baseUrl}/oauth/token`)
  t.ok(metadata.grant_types_supported.includes('client_credentials'))
  t.ok(metadata.token_endpoint_auth_methods_supported.includes('private_key_jwt'))
  for (const list of ['dpop_signing_alg_values_supported', 'token_endpoint_auth_signing_alg_values_supported']) {
    for (const alg of ['PS256', 'ES256', 'EdDSA']) t.ok(metadata[list].includes(alg), `${list} ${alg}`)
  }
})

conformanceModule('happy-flow', 'two clients get tokens that are bound to their keys', async t => {
  const token = await performFlow(t, client)
  const inQuery = await api.request({ dpop: api.prove(client.dpopKey, token) }, `?access_token=${token}`)
  t.ok([400, 401, 414].includes(inQuery.status), 'a token in the query')
  for (const accept of ['application/json; charset=utf-8', 'application/json, application/*+json, */*']) {
    checkResource(t, await call(token, api.prove(client.dpopKey, token), { accept }), accept)
  }
  const second = await performFlow(t, client2)
  const { status } = await call(second, api.prove(client.dpopKey, second))
  t.ok(status >= 400 && status < 500, 'the token of the second client with the key of the first')
})

conformanceModule('access-token-type-header-case-sensitivity', 'the scheme of a token has no case', async t => {
  const token = checkToken(t, await requestToken(client))
  const inverted = { authorization: `dpOp ${token}`, dpop: api.prove(client.dpopKey, token) }
  checkResource(t, await api.request(inverted))
})

conformanceModule('check-dpop-proof-nbf-exp', 'a proof with nbf now and exp in five minutes is accepted', async t => {
  await performFlow(t, client, { nbf: seconds(), exp: seconds() + 300 })
})

conformanceModule('ensure-dpopproof-with-iat-10seconds-before-succeeds', 'a proof may be 10 seconds old', async t => {
  await performFlow(t, client, { iat: seconds() - 10 })
})

// The name says 10 seconds. The suite sends 8, because the clocks differ.
conformanceModule(
  'ensure-dpopproof-with-iat-10seconds-after-succeeds',
  'a proof may be of 8 seconds ahead',
  async t => {
    await performFlow(t, client, { iat: seconds() + 8 })
  }
)

conformanceModule('ensure-client-id-in-token-endpoint', 'a client cannot use the name of another', async t => {
  const claims = claimsOf(client2.clientId, grantd.baseUrl, Date.now())
  const assertion = await signAssertion(client.key, claims)
  const parameters = { client_id: client2.clientId }
  const answer = await requestWithAssertion(grantd, assertion, parameters, { dpop: tokenProof(client) })
  checkError(t, answer, 'invalid_client', 'invalid_grant')
})

conformanceModule('ensure-holder-of-key-required', 'a request without a DPoP proof gets no token', async t => {
  const answer = await requestWithAssertion(grantd, await client.sign())
  t.equal(answer.status, 400)
  checkError(t, answer, 'invalid_request', 'invalid_grant', 'invalid_dpop_proof')
})

conformanceModule('ensure-signed-client-assertion-with-RS256-fails', 'an RS256 assertion is refused', async t => {
  const rs256 = withAlg(client.key, 'RS256')
  // The suite sends the URL of the token endpoint. With the issuer, nothing but the algorithm is wrong.
  for (const aud of [`${grantd.baseUrl}/oauth/token`, grantd.baseUrl]) {
    const claims = claimsOf(client.clientId, aud, Date.now())
    checkError(t, await requestToken(client, await signAssertion(rs256, claims)), 'invalid_client')
  }
  checkToken(t, await requestToken(client))
})

conformanceModule(
  'ensure-client-assertion-in-token-endpoint',
  'a client_id without an assertion is refused',
  async t => {
    const answer = await grantd.requestToken({ client_id: client.clientId }, { dpop: tokenProof(client) })
    checkError(t, answer, 'invalid_client', 'invalid_request')
  }
)

conformanceModule(
  'ensure-client-assertion-with-exp-is-5-minutes-in-past-fails',
  'an assertion that ended 5 minutes ago is refused',
  async t => {
    const assertion = await client.sign({ exp: seconds() - 300 })
    checkError(t, await requestToken(client, assertion), 'invalid_client', 'invalid_request')
  }
)

conformanceModule(
  'ensure-client-assertion-with-wrong-aud-fails',
  'an assertion for another server is refused',
  async t => {
    const assertion = await client.sign({ aud: 'https://other.example.com/api/userinfo' })
    checkError(t, await requestToken(client, assertion), 'invalid_client', 'invalid_request')
  }
)

conformanceModule('ensure-client-assertion-with-no-sub-fails', 'an assertion without sub is refused', async t => {
  const assertion = await client.sign({ sub: undefined })
  checkError(t, await requestToken(client, assertion), 'invalid_client', 'invalid_request')
})

conformanceModule('dpop-negative-tests', 'the resource server makes each check of RFC 9449 §4.3', async t => {
  const token = await performFlow(t, client)
  const url = `${api.audience}/sites/acme/devices`
  const prove = (claims = {}, header = {}, key = client.dpopKey) => api.prove(key, token, claims, header)
  const accepted = async (what: string, proof: string) => checkResource(t, await call(token, proof), what)
  const refused = async (what: string, headers: Record<string, string | string[]>) => {
    const { status } = await api.request({ authorization: `DPoP ${token}`, ...headers })
    t.ok([400, 401].includes(status), `${what}: ${status}`)
  }

  checkResource(t, await api.request({ authorization: `DPoP ${token}`, DPOP: prove() }), 'DPOP in upper case')
  await refused('more than one proof', { dpop: [prove(), prove()] })
  await refused('two parts', { dpop: prove().split('.').slice(0, 2).join('.') })
  for (const name of ['typ', 'alg', 'jwk']) await refused(`no ${name}`, { dpop: prove({}, { [name]: undefined }) })
  for (const name of ['jti', 'htm', 'htu', 'iat', 'ath'])
    await refused(`no ${name}`, { dpop: prove({ [name]: undefined }) })
  await refused('another typ', { dpop: prove({}, { typ: 'dpop+jwt+wrong' }) })
  await refused('RS256', { dpop: prove({}, {}, withAlg(client.dpopKey, 'RS256')) })
  await refused('alg none', { dpop: `${prove({}, { alg: 'none' }).split('.').slice(0, 2).join('.')}.` })
  await refused('another signature', { dpop: prove().replace(/.{8}$/, 'AAAAAAAA') })
  await refused('a private key', { dpop: prove({}, { jwk: client.dpopKey.privateKey.export({ format: 'jwk' }) }) })
  await refused('another method', { dpop: prove({ htm: 'PUT' }) })
  await accepted('htu with query and fragment', prove({ htu: `${url}?with=query#and-fragment` }))
  checkResource(
    t,
    await api.request({ authorization: `DPoP ${token}`, dpop: prove() }, '?a=b'),
    'htu without the query'
  )
  await refused('another URL', { dpop: prove({ htu: `${url}x` }) })
  await refused('an hour ahead', { dpop: prove({ iat: seconds() + 3_600 }) })
  await refused('an hour ago', { dpop: prove({ iat: seconds() - 3_600 }) })
  await accepted('the first use of a jti', prove({ jti: 'fixed' }))
  await refused('the second use of a jti', { dpop: prove({ jti: 'fixed' }) })
  await refused('another ath', { dpop: prove({ ath: 'x' }) })
  await refused('another key', { dpop: prove({}, {}, await makeClientKey('PS256')) })
  await accepted('unknown members', prove({ tx_id_key: seconds() }, { tx_id: seconds() }))
  // Its host is an address, which has no case. target-uri.test.ts has names, and default ports.
  await accepted('scheme in upper case', prove({ htu: url.replace('http', 'HTTP') }))
  await refused('no proof', {})
  await refused('no proof, as a bearer token', { authorization: `Bearer ${token}` })
  await accepted('a good proof at the end', prove())
})

/** The same key under the name of another algorithm. */
function withAlg(key: ClientKey, alg: 'RS256'): ClientKey {
  return { ...key, credential: { ...key.credential, alg } }
}

t.test('docs/security/fapi.md lists these modules with their results', async t => {
  const page = readFileSync(path.join(ROOT, 'docs/security/fapi.md'), 'utf8')
  const listed = [...page.matchAll(/^\| `([\w-]+)` \|.*\| passes[^|]*\|$/gm)].map(([, name]) => name)
  t.same(
    listed,
    modules.map(name => name.replace('fapi2-security-profile-final-', ''))
  )
  t.equal(modules.length, 14)
  t.match(page, /ported, not certified/)
})
