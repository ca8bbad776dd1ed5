import { createHmac, generateKeyPairSync } from 'node:crypto'
import { createLocalJWKSet, exportJWK, type JWTHeaderParameters, type JWTPayload, SignJWT } from 'jose'
import t from 'tap'
import type { Credential } from '../../../src/credentials/credential.ts'
import { IssuerUnavailable } from '../../../src/issuer-keys/issuer-keys.ts'
import type { CredentialProof } from '../../../src/oauth/client-authentication/credential-proof.ts'
import { proveWorkload } from '../../../src/oauth/client-authentication/federated-assertion.ts'
import { parseSignedJwt } from '../../../src/oauth/client-authentication/signed-jwt.ts'
import { invalidClient, OAuthError } from '../../../src/oauth/oauth-error.ts'
import { clientRow } from '../../fixtures/app/client-row.ts'
import { makeKey, type ProviderKey } from '../../fixtures/peers/identity-provider.ts'
import { workloadsOf } from '../../fixtures/peers/workloads.ts'

const NOW = Date.parse('2026-11-23T09:00:00.000Z')
const SECONDS = NOW / 1_000
const AUDIENCE = 'https://grantd.example.com'
const ISSUER = 'https://platform.example'
const OTHER_ISSUER = 'https://other.example'
const SUBJECT = 'system:serviceaccount:billing:exporter'
const CLAIMS = { iss: ISSUER, sub: SUBJECT, aud: AUDIENCE, iat: SECONDS, exp: SECONDS + 600 }

const key = await makeKey('RS256', 'first')
const ec = await makeKey('ES256', 'ec')
const otherKey = await makeKey('RS256', 'first')
const KEYS = new Map([
  [ISSUER, createLocalJWKSet({ keys: [key.jwk, ec.jwk] })],
  [OTHER_ISSUER, createLocalJWKSet({ keys: [otherKey.jwk] })]
])

function sign(claims: JWTPayload, header: Partial<JWTHeaderParameters> = {}, by: ProviderKey = key): Promise<string> {
  const { alg, kid } = by
  return new SignJWT(claims).setProtectedHeader({ alg, kid, ...header }).sign(by.privateKey)
}

/** Makes a token from parts as they are. */
function compact(header: unknown, claims: unknown, signature: Buffer | string): string {
  const parts = [header, claims].map(part => Buffer.from(JSON.stringify(part)).toString('base64url'))
  return [...parts, Buffer.from(signature).toString('base64url')].join('.')
}

/** Returns the proof of a token; undefined when the token is refused like a wrong secret. */
async function prove(token: string): Promise<CredentialProof | undefined> {
  const jwt = parseSignedJwt(token)
  const trustedIssuers = { keysOf: (issuer: string) => KEYS.get(issuer) }
  try {
    return jwt && (await proveWorkload(jwt, { trustedIssuers, issuer: AUDIENCE }, reason => invalidClient(reason)))
  } catch (error) {
    if (error instanceof OAuthError && error.message === invalidClient('wrong_secret').message) return undefined
    throw error
  }
}

/** Returns the reason of the fault of a token that proves a workload. */
async function faultOf(token: string, now = NOW): Promise<string | undefined> {
  const proof = await prove(token)
  if (proof === undefined) throw new Error('it proves no workload')
  return proof.findFault?.(now)?.reason
}

const federated = (issuer: string, subject: string): Credential => ({ kind: 'federated', issuer, subject })

for (const { platform, alg, header, claims } of workloadsOf(ISSUER, AUDIENCE, NOW)) {
  t.test(`a token of ${platform} in its published shape proves its workload`, async t => {
    const proof = await prove(await sign(claims, header, alg === 'RS256' ? key : ec))
    t.equal(proof?.findFault?.(NOW), undefined)
    const row = clientRow({ credential: federated(ISSUER, claims.sub) })
    t.same(proof?.match(row), { row, credential: 'current' })
  })
}

// [FED-16]
t.test('a workload is equal in issuer and subject to the byte, and each of two credentials may be it', async t => {
  const proof = await prove(await sign(CLAIMS))
  const own = federated(ISSUER, SUBJECT)
  for (const other of [
    federated(OTHER_ISSUER, SUBJECT),
    federated(`${ISSUER}/`, SUBJECT),
    federated(ISSUER, `${SUBJECT} `),
    federated(ISSUER, SUBJECT.toUpperCase()),
    federated(ISSUER, SUBJECT.slice(0, -1)),
    federated(ISSUER, `${SUBJECT}s`),
    federated(ISSUER, '*'),
    { kind: 'secret' } as const
  ]) {
    t.equal(proof?.match(clientRow({ credential: other, previous_credential: other })), undefined)
    t.equal(proof?.match(clientRow({ credential: own, previous_credential: other }))?.credential, 'current')
    t.equal(proof?.match(clientRow({ credential: other, previous_credential: own }))?.credential, 'previous')
  }
  t.equal(proof?.match(clientRow({ credential: own, is_registered: false })), undefined, 'a decoy matches nothing')
})

// [FED-17]
t.test('a token of another trusted issuer with the same subject is another workload', async t => {
  const proof = await prove(await sign({ ...CLAIMS, iss: OTHER_ISSUER }, {}, otherKey))
  t.equal(proof?.match(clientRow({ credential: federated(ISSUER, SUBJECT) })), undefined)
  t.equal(await prove(await sign({ ...CLAIMS, iss: ISSUER }, {}, otherKey)), undefined, 'it cannot sign for the first')
  t.equal(await prove(await sign({ ...CLAIMS, iss: OTHER_ISSUER })), undefined, 'nor the other way round')
})

// [FED-18]
t.test('an issuer that is not trusted proves nothing, and neither do issuers and subjects of wrong types', async t => {
  for (const iss of ['https://stranger.example', AUDIENCE, `${ISSUER}/`, 'HTTPS://PLATFORM.EXAMPLE', '']) {
    t.equal(await prove(await sign({ ...CLAIMS, iss })), undefined, String(iss))
  }
  const { iss: _, ...anonymous } = CLAIMS
  t.equal(await prove(await sign(anonymous)), undefined, 'without iss')
  for (const [name, value] of ['iss', 'sub'].flatMap(name => [null, 7, true, [CLAIMS.iss], {}].map(v => [name, v]))) {
    const claims = { ...CLAIMS, [String(name)]: value }
    const header = { alg: 'RS256', kid: key.kid }
    const signed = await signRaw(header, claims)
    t.equal(await prove(signed), undefined, `${name} ${JSON.stringify(value)}`)
  }
})

/** Signs claims that SignJWT would refuse. */
async function signRaw(header: object, claims: object): Promise<string> {
  const parts = [header, claims].map(part => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.')
  const signature = await crypto.subtle.sign('RSASSA-PKCS1-v1_5', key.privateKey, Buffer.from(parts))
  return `${parts}.${Buffer.from(signature).toString('base64url')}`
}

// [FED-12]
t.test('no other algorithm than those of the keys of the issuer is accepted (RFC 8725 §3.1)', async t => {
  const header = { alg: 'HS256', kid: key.kid }
  const input = compact(header, CLAIMS, 'x').split('.').slice(0, 2).join('.')
  for (const secret of [
    JSON.stringify(key.jwk),
    String(key.jwk.n),
    Buffer.from(await crypto.subtle.exportKey('spki', key.publicKey))
  ]) {
    const mac = createHmac('sha256', secret).update(input).digest('base64url')
    t.equal(await prove(`${input}.${mac}`), undefined, 'the public key is no shared secret')
  }
  for (const alg of ['none', 'None', 'HS512', 'RSA-OAEP', 'dir', 'ES256K', '', 7, null, ['RS256']]) {
    t.equal(await prove(compact({ alg, kid: key.kid }, CLAIMS, 'signature')), undefined, String(alg))
  }
  const good = await sign(CLAIMS)
  const [, payload = '', signature = ''] = good.split('.')
  for (const alg of ['PS256', 'RS512', 'ES256', 'EdDSA']) {
    const swapped = Buffer.from(JSON.stringify({ alg, kid: key.kid })).toString('base64url')
    t.equal(await prove(`${swapped}.${payload}.${signature}`), undefined, alg)
  }
})

t.test('a changed token proves nothing', async t => {
  const [header = '', , signature = ''] = (await sign(CLAIMS)).split('.')
  const changed = Buffer.from(JSON.stringify({ ...CLAIMS, sub: 'system:serviceaccount:billing:admin' }))
  t.equal(await prove(`${header}.${changed.toString('base64url')}.${signature}`), undefined)
  t.equal(await prove(`${header}.${changed.toString('base64url')}.${'A'.repeat(342)}`), undefined)
})

t.test('a key in the header, or one that it leads to, is not used (RFC 8725 §3.10)', async t => {
  const pair = generateKeyPairSync('rsa', { modulusLength: 2_048 })
  const jwk = await exportJWK(pair.publicKey)
  for (const header of [
    { jwk },
    { jku: 'http://127.0.0.1:1/keys' },
    { x5u: 'http://127.0.0.1:1/certificate' },
    { x5c: [pair.publicKey.export({ format: 'der', type: 'spki' }).toString('base64')] }
  ]) {
    const token = await new SignJWT(CLAIMS)
      .setProtectedHeader({ alg: 'RS256', kid: key.kid, ...header })
      .sign(pair.privateKey)
    t.equal(await prove(token), undefined)
  }
})

t.test('extensions of the signature are refused (RFC 7515 §4.1.11, RFC 7797)', async t => {
  const claims = Buffer.from(JSON.stringify(CLAIMS)).toString('base64url')
  for (const extension of [
    { crit: ['exp'], exp: 1 },
    { crit: [] },
    { crit: ['b64'], b64: false },
    { b64: false },
    { b64: true }
  ]) {
    const header = Buffer.from(JSON.stringify({ alg: 'RS256', kid: key.kid, ...extension })).toString('base64url')
    const signature = await crypto.subtle.sign('RSASSA-PKCS1-v1_5', key.privateKey, Buffer.from(`${header}.${claims}`))
    t.equal(await prove(`${header}.${claims}.${Buffer.from(signature).toString('base64url')}`), undefined)
  }
})

t.test('a kid is compared and nothing else: it is no path, no address and no query', async t => {
  for (const kid of ['../../etc/passwd', "' or 1=1 --", 'http://127.0.0.1:1/', '', '__proto__', 'constructor']) {
    t.equal(await prove(await sign(CLAIMS, { kid })), undefined, kid)
  }
})

t.test('a token without kid is verified with each key of its type', async t => {
  const token = await new SignJWT(CLAIMS).setProtectedHeader({ alg: 'RS256' }).sign(key.privateKey)
  t.equal(await faultOf(token), undefined)
})

// [FED-13]
t.test('typ is absent or that of a plain JWT, so tokens for other uses prove no workload (RFC 8725 §3.11)', async t => {
  for (const typ of [undefined, 'JWT', 'jwt', 'application/jwt', 'JOSE', 'client-authentication+jwt']) {
    t.equal(await faultOf(await sign(CLAIMS, typ === undefined ? {} : { typ })), undefined, String(typ))
  }
  for (const typ of [
    ...['at+jwt', 'application/at+jwt', 'AT+JWT', 'dpop+jwt', 'logout+jwt', 'secevent+jwt', 'token-introspection+jwt'],
    ...['oauth-authz-req+jwt', 'wit+jwt', 'kb+jwt', 'vc+sd-jwt', 'JWTX', ' JWT', '']
  ]) {
    t.equal(await faultOf(await sign(CLAIMS, { typ })), 'assertion_typ', typ)
  }
  t.equal(await faultOf(await signRaw({ alg: 'RS256', kid: key.kid, typ: 7 }, CLAIMS)), 'assertion_typ')
})

// [FED-14]
t.test('aud is our issuer and nothing else, as text or in a list of one', async t => {
  for (const aud of [AUDIENCE, [AUDIENCE]]) t.equal(await faultOf(await sign({ ...CLAIMS, aud })), undefined)
  for (const aud of [
    ...[undefined, '', null, 7, {}, [], [[AUDIENCE]], [AUDIENCE, AUDIENCE], [AUDIENCE, 'https://other.example']],
    ...[`${AUDIENCE}/`, `${AUDIENCE}/oauth/token`, AUDIENCE.toUpperCase(), AUDIENCE.slice(0, -1), ` ${AUDIENCE}`]
  ]) {
    t.equal(await faultOf(await signRaw({ alg: 'RS256', kid: key.kid }, { ...CLAIMS, aud })), 'assertion_audience')
  }
})

// [FED-15]
t.test('exp and iat are required, and the token is at most 3600 seconds old, to the second', async t => {
  const at = async (claims: object, now = NOW) =>
    faultOf(await signRaw({ alg: 'RS256', kid: key.kid }, { ...CLAIMS, ...claims }), now)
  t.equal(await at({ exp: SECONDS + 1 }), undefined)
  t.equal(await at({ exp: SECONDS }), 'assertion_time')
  t.equal(await at({ exp: SECONDS + 0.5 }), undefined)
  t.equal(await at({ iat: SECONDS - 3_599, exp: SECONDS + 86_400 }), undefined)
  t.equal(await at({ iat: SECONDS - 3_600, exp: SECONDS + 86_400 }), 'assertion_time')
  t.equal(await at({ iat: SECONDS + 10 }), undefined)
  t.equal(await at({ iat: SECONDS + 11 }), 'assertion_time')
  t.equal(await at({ nbf: SECONDS + 10 }), undefined)
  t.equal(await at({ nbf: SECONDS + 11 }), 'assertion_time')
  for (const name of ['exp', 'iat', 'nbf']) {
    for (const value of [null, String(SECONDS + 60), true, [SECONDS + 60], {}]) {
      t.equal(await at({ [name]: value }), 'assertion_time', `${name} ${JSON.stringify(value)}`)
    }
    t.equal(await at({ [name]: undefined }), name === 'nbf' ? undefined : 'assertion_time')
  }
  t.equal(await at({ exp: 1e308 }), undefined, 'a far exp does not help: the age counts')
  t.equal(await at({ exp: 1e308, iat: -1e308 }), 'assertion_time')
})

t.test('a token works again and again until it ends: there is no single use', async t => {
  const token = await sign({ ...CLAIMS, jti: 'once' })
  for (let i = 0; i < 3; i++) t.equal(await faultOf(token), undefined)
})

t.test('while it is unknown whether the issuer has signed a token, that is an error of its own', async t => {
  const jwt = parseSignedJwt(await sign(CLAIMS))
  if (jwt === undefined) throw new Error('malformed')
  const keys = async () => {
    throw new IssuerUnavailable(new Error('down'))
  }
  const options = { trustedIssuers: { keysOf: () => keys }, issuer: AUDIENCE }
  await t.rejects(
    proveWorkload(jwt, options, reason => invalidClient(reason)),
    { status: 503, code: 'temporarily_unavailable', headers: { 'retry-after': '1' } }
  )
})

t.test(
  'the description of every fault is for the developer of a proved client, in the characters of RFC 6749 §5.2',
  async t => {
    for (const claims of [{ aud: 'x' }, { exp: 1 }, { exp: 'x' }, { nbf: 'x' }, { iat: SECONDS + 60 }, { iat: 1 }]) {
      const proof = await prove(await signRaw({ alg: 'RS256', kid: key.kid }, { ...CLAIMS, ...claims }))
      t.match(proof?.findFault?.(NOW)?.description, /^[\x20-\x21\x23-\x5B\x5D-\x7E]+$/)
    }
  }
)
