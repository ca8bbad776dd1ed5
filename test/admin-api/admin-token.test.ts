import { createServer } from 'node:net'
import {
  base64url,
  CompactEncrypt,
  CompactSign,
  exportJWK,
  exportSPKI,
  generateKeyPair,
  type JWTHeaderParameters,
  SignJWT,
  UnsecuredJWT
} from 'jose'
import t, { type Test } from 'tap'
import { type Administrator, verifyAdminToken } from '../../src/admin-api/admin-token.ts'
import { IssuerUnavailable } from '../../src/issuer-keys/issuer-keys.ts'
import { AUDIENCE, type IdentityProvider, makeKey, startIdentityProvider } from '../fixtures/peers/identity-provider.ts'

const rsa = await makeKey('RS256', 'rsa')
const ec = await makeKey('ES256', 'ec')
const ed = await makeKey('EdDSA', 'ed')
const stranger = await makeKey('RS256', 'rsa')

interface Verifier {
  provider: IdentityProvider
  verify: (token: string, now?: number) => Promise<Administrator | undefined>
  /** Why a token is refused. */
  refusal: (token: string, now?: number) => Promise<string | undefined>
}

async function trustingVerifier(t: Test): Promise<Verifier> {
  const provider = await startIdentityProvider(t)
  provider.publish([rsa, ec, ed])
  const trusted = provider.trusted(provider.jwksUri)
  const verifyAt = (token: string, now = Date.now()) => verifyAdminToken(trusted, 'site_admin', token, now)
  return {
    provider,
    verify: async (token, now) => (await verifyAt(token, now)).administrator,
    refusal: async (token, now) => {
      const verification = await verifyAt(token, now)
      return 'refusal' in verification ? verification.refusal : undefined
    }
  }
}

const seconds = () => Math.floor(Date.now() / 1_000)

t.test('a token of each asymmetric algorithm yields its subject and the Sites that it administers', async t => {
  const { provider, verify } = await trustingVerifier(t)
  for (const key of [rsa, ec, ed]) {
    t.same(
      await verify(await provider.sign(key)),
      { subject: 'ada', issuer: provider.issuer, sites: new Set(['acme']), keyId: key.kid },
      key.alg
    )
  }
  for (const alg of ['RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES384', 'ES512', 'Ed25519']) {
    const key = await makeKey(alg, alg)
    const other = await startIdentityProvider(t)
    other.publish([key])
    const token = await other.sign(key)
    t.ok((await verifyAdminToken(other.trusted(other.jwksUri), 'site_admin', token, Date.now())).administrator, alg)
  }
})

t.test('a token without sub is refused: nobody could be named in the audit (RFC 9068 §2.2)', async t => {
  const { provider, verify, refusal } = await trustingVerifier(t)
  t.match(await verify(await provider.sign(ec, { client_id: 'ui' })), { subject: 'ada' })
  for (const sub of [undefined, '', 7, ['ada'], null]) {
    t.equal(await verify(await provider.sign(ec, { sub, client_id: 'ui' })), undefined, JSON.stringify(sub))
  }
  t.equal(await refusal(await provider.sign(ec, { sub: undefined, client_id: 'ui' })), 'no_subject')
})

t.test('the claim that lists Sites may be nested, by dots or as a JSON pointer (RFC 6901)', async t => {
  const { provider } = await trustingVerifier(t)
  const trusted = provider.trusted(provider.jwksUri)
  const token = await provider.sign(ec, {
    realm_access: { roles: ['acme'], 'a.b': 'globex', 'c/d~e': 'initech globex' },
    'realm_access.roles.flat': '*'
  })
  for (const [claim, sites] of [
    ['realm_access.roles', new Set(['acme'])],
    ['/realm_access/roles', new Set(['acme'])],
    ['/realm_access/a.b', new Set(['globex'])],
    ['/realm_access/c~1d~0e', new Set(['initech', 'globex'])],
    ['realm_access.roles.flat', 'all'],
    ['realm_access', new Set()],
    ['realm_access.roles.length', undefined],
    ['realm_access.constructor', undefined],
    ['realm_access.', undefined],
    ['/', undefined]
  ] as const) {
    const { administrator } = await verifyAdminToken(trusted, claim, token, Date.now())
    t.same(administrator?.sites, sites, claim)
  }
})

t.test('a token without kid is verified with each key of its type, also when keys share a kid', async t => {
  const { provider, verify, refusal } = await trustingVerifier(t)
  const keys = await Promise.all([1, 2, 3].map(() => makeKey('RS256', 'same')))
  provider.publish([...keys, ec])
  for (const key of keys) {
    t.match(await verify(await provider.sign(key, {}, { kid: undefined })), { subject: 'ada', keyId: undefined })
    t.match(await verify(await provider.sign(key)), { subject: 'ada', keyId: 'same' })
  }
  for (const kid of [undefined, 'same']) {
    t.equal(await refusal(await provider.sign(stranger, {}, { kid })), 'bad_signature')
    const [, second] = keys
    if (second === undefined) throw new Error('no key')
    t.equal(await refusal(await provider.sign(second, { exp: 1 }, { kid })), 'token_expired')
  }
})

t.test('tokens that are not access tokens are refused, although the same key signed them (RFC 8725 §3.11)', async t => {
  const { provider, verify, refusal } = await trustingVerifier(t)
  for (const typ of ['logout+jwt', 'LOGOUT+JWT', 'application/logout+jwt', 'dpop+jwt', 'secevent+jwt']) {
    t.equal(await refusal(await provider.sign(ec, {}, { typ })), 'not_an_access_token', typ)
  }
  for (const typ of [undefined, 'JWT', 'jwt', 'at+jwt', 'application/at+jwt']) {
    t.ok(await verify(await provider.sign(ec, {}, { typ })), String(typ))
  }
})

t.test('the reason of a refusal tells not yet valid, expired, bad signature and the rest apart', async t => {
  const { provider, refusal } = await trustingVerifier(t)
  const at = seconds()
  for (const [reason, token] of [
    ['token_not_yet_valid', await provider.sign(ec, { nbf: at + 300 })],
    ['token_expired', await provider.sign(ec, { exp: at - 300 })],
    ['no_expiry', await provider.sign(ec, { exp: undefined })],
    ['bad_signature', await provider.sign(stranger)],
    ['unknown_key', await provider.sign(stranger, {}, { kid: 'unknown' })],
    ['wrong_issuer', await provider.sign(ec, { iss: 'https://other.example.com' })],
    ['wrong_audience', await provider.sign(ec, { aud: 'other' })],
    ['malformed_token', 'a.b.c'],
    ['algorithm_not_allowed', new UnsecuredJWT(provider.claims()).encode()]
  ] as const) {
    t.equal(await refusal(token), reason)
  }
})

t.test('the Sites come from the claim that is configured and from no other', async t => {
  const { provider } = await trustingVerifier(t)
  const token = await provider.sign(ec, { site_admin: ['*'], 'https://acme.example/sites': ['globex'] })
  const trusted = provider.trusted(provider.jwksUri)
  const sitesOf = async (claim: string) =>
    (await verifyAdminToken(trusted, claim, token, Date.now())).administrator?.sites
  t.same(await sitesOf('https://acme.example/sites'), new Set(['globex']))
  for (const absent of ['absent', 'site_admin.0.x', '/absent', 'constructor', '__proto__', 'toString', '__proto__.x']) {
    t.equal(await sitesOf(absent), undefined, absent)
  }
})

t.test('alg none is refused in every spelling (RFC 8725 §3.2)', async t => {
  const { provider, verify } = await trustingVerifier(t)
  t.equal(await verify(new UnsecuredJWT(provider.claims()).encode()), undefined)
  const payload = base64url.encode(JSON.stringify(provider.claims()))
  const [, , signature] = (await provider.sign(rsa)).split('.')
  for (const alg of ['none', 'None', 'NONE', 'nOnE', '', null, 0]) {
    const header = base64url.encode(JSON.stringify({ alg, kid: 'rsa' }))
    t.equal(await verify(`${header}.${payload}.`), undefined)
    t.equal(await verify(`${header}.${payload}.${signature}`), undefined)
  }
})

t.test('HS256 with a public key as the shared secret is refused (RFC 8725 §2.1)', async t => {
  const { provider, verify } = await trustingVerifier(t)
  for (const key of [rsa, ec, ed]) {
    const pem = await exportSPKI(key.publicKey)
    const { n = '', x = '' } = key.jwk
    const secrets = [
      pem,
      pem.trim(),
      pem.replaceAll('\n', ''),
      JSON.stringify(key.jwk),
      JSON.stringify(await exportJWK(key.publicKey)),
      n,
      x
    ].filter(text => text !== '')
    const bytes = [
      ...secrets.map(text => Buffer.from(text)),
      Buffer.from(pem.replaceAll(/-----[^-]+-----|\s/g, ''), 'base64'),
      base64url.decode(n === '' ? x : n)
    ]
    for (const alg of ['HS256', 'HS384', 'HS512']) {
      for (const secret of bytes) {
        const padded = secret.length < 64 ? Buffer.concat([secret, Buffer.alloc(64 - secret.length)]) : secret
        for (const header of [{ alg, kid: key.kid }, { alg }]) {
          const token = await new SignJWT(provider.claims()).setProtectedHeader(header).sign(padded)
          t.equal(await verify(token), undefined)
        }
      }
    }
  }
})

t.test('a symmetric key in the key set makes no token good', async t => {
  const { provider, verify } = await trustingVerifier(t)
  const secret = Buffer.alloc(32, 7)
  provider.documents.set('/keys', { keys: [{ kty: 'oct', k: base64url.encode(secret), kid: 'shared', alg: 'HS256' }] })
  const token = await new SignJWT(provider.claims()).setProtectedHeader({ alg: 'HS256', kid: 'shared' }).sign(secret)
  t.equal(await verify(token), undefined)
})

t.test("a token under one key's id that another key has signed is refused", async t => {
  const { provider, verify } = await trustingVerifier(t)
  t.equal(await verify(await provider.sign(stranger)), undefined, "a stranger's key under the provider's kid")
  t.equal(await verify(await provider.sign(rsa, {}, { kid: 'ec' })), undefined)
  t.equal(await verify(await provider.sign(ec, {}, { kid: 'rsa' })), undefined)
  t.equal(await verify(await provider.sign(ed, {}, { kid: 'ec' })), undefined)
  t.equal(await verify(await provider.sign(await makeKey('ES384', 'ec'))), undefined, 'another curve')
  t.equal(await verify(await provider.sign(await makeKey('PS256', 'rsa'))), undefined, 'another padding')
})

t.test('an algorithm other than the one its key is published for is refused (RFC 8725 §3.1)', async t => {
  const { provider, verify } = await trustingVerifier(t)
  const pair = await generateKeyPair('RS256', { extractable: true })
  const jwk = { ...(await exportJWK(pair.publicKey)), kid: 'both', alg: 'RS256', use: 'sig' }
  provider.documents.set('/keys', { keys: [jwk] })
  const pkcs8 = await crypto.subtle.exportKey('pkcs8', pair.privateKey)
  const pss = await crypto.subtle.importKey('pkcs8', pkcs8, { name: 'RSA-PSS', hash: 'SHA-256' }, false, ['sign'])
  const token = (alg: string, privateKey: typeof pss) => provider.sign({ alg, kid: 'both', privateKey })
  t.ok(await verify(await token('RS256', pair.privateKey)))
  t.equal(await verify(await token('PS256', pss)), undefined)
})

// [ADMIN-18]
t.test('a token without our audience is refused (RFC 7519 §4.1.3)', async t => {
  const { provider, verify } = await trustingVerifier(t)
  for (const aud of [
    undefined,
    '',
    'other',
    `${AUDIENCE} `,
    `${AUDIENCE}2`,
    AUDIENCE.toUpperCase(),
    [],
    ['other'],
    ['other', [AUDIENCE]],
    { [AUDIENCE]: true },
    1,
    null,
    true
  ]) {
    t.equal(await verify(await provider.sign(ec, { aud })), undefined, JSON.stringify(aud))
  }
  t.ok(await verify(await provider.sign(ec, { aud: ['other', AUDIENCE] })))
})

// [ADMIN-16]
t.test('an iss that is not exactly the trusted one is refused (RFC 8725 §3.8)', async t => {
  const { provider, verify } = await trustingVerifier(t)
  const { issuer } = provider
  for (const iss of [
    undefined,
    '',
    'https://identity.example.com',
    `${issuer}/`,
    ` ${issuer}`,
    issuer.toUpperCase(),
    issuer.replace('127.0.0.1', 'localhost'),
    [issuer],
    [issuer, 'other'],
    1,
    null
  ]) {
    t.equal(await verify(await provider.sign(ec, { iss })), undefined, JSON.stringify(iss))
  }
})

t.test('exp is required, must be a number, and ends the token 60 s later at the latest (RFC 7519 §4.1.4)', async t => {
  const { provider, verify } = await trustingVerifier(t)
  const soon = seconds() + 60
  for (const exp of [undefined, null, String(soon), new Date(soon * 1_000).toISOString(), [soon], {}, true, 0, -1]) {
    t.equal(await verify(await provider.sign(ec, { exp })), undefined, JSON.stringify(exp))
  }
  const token = await provider.sign(ec, { exp: soon })
  t.ok(await verify(token, (soon + 59) * 1_000), 'within 60 s of clock difference')
  t.equal(await verify(token, (soon + 61) * 1_000), undefined)
  t.equal(await verify(token, (soon + 86_400) * 1_000), undefined)
})

t.test('a token from the future is refused: nbf ahead, or not a number (RFC 7519 §4.1.5)', async t => {
  const { provider, verify } = await trustingVerifier(t)
  const at = seconds()
  const token = await provider.sign(ec, { nbf: at + 300 })
  t.equal(await verify(token, at * 1_000), undefined)
  t.equal(await verify(token, (at + 239) * 1_000), undefined)
  t.ok(await verify(token, (at + 241) * 1_000), 'within 60 s of clock difference')
  for (const nbf of [String(at - 60), null, [], {}]) {
    t.equal(await verify(await provider.sign(ec, { nbf })), undefined, JSON.stringify(nbf))
  }
})

t.test('an encrypted token is refused (RFC 7516)', async t => {
  const { provider, verify } = await trustingVerifier(t)
  const inner = await provider.sign(rsa)
  const pair = await generateKeyPair('RSA-OAEP-256', { extractable: true })
  for (const content of [inner, JSON.stringify(provider.claims())]) {
    const jwe = await new CompactEncrypt(Buffer.from(content))
      .setProtectedHeader({ alg: 'RSA-OAEP-256', enc: 'A256GCM', cty: 'JWT', kid: 'rsa' })
      .encrypt(pair.publicKey)
    t.equal(await verify(jwe), undefined)
  }
  const direct = await new CompactEncrypt(Buffer.from(inner))
    .setProtectedHeader({ alg: 'dir', enc: 'A256GCM' })
    .encrypt(Buffer.alloc(32))
  t.equal(await verify(direct), undefined)
})

t.test('a critical extension that is unknown is refused (RFC 7515 §4.1.11)', async t => {
  const { provider, verify } = await trustingVerifier(t)
  const signed = async (header: Record<string, unknown>) => {
    const input = [{ alg: 'ES256', kid: 'ec', ...header }, provider.claims()]
      .map(part => base64url.encode(JSON.stringify(part)))
      .join('.')
    const signature = await crypto.subtle.sign({ name: 'ECDSA', hash: 'SHA-256' }, ec.privateKey, Buffer.from(input))
    return `${input}.${base64url.encode(new Uint8Array(signature))}`
  }
  t.ok(await verify(await signed({})), 'the same way of signing is good without crit')
  for (const header of [
    { crit: ['x'], x: 1 },
    { crit: ['x'] },
    { crit: [] },
    { crit: 'x', x: 1 },
    { crit: ['exp'], exp: 1 },
    { crit: ['b64'], b64: false },
    { crit: null },
    { crit: ['alg'] }
  ]) {
    t.equal(await verify(await signed(header)), undefined, JSON.stringify(header))
  }
})

t.test('keys that a token brings or points to are neither used nor fetched (RFC 8725 §3.10)', async t => {
  const { provider, verify } = await trustingVerifier(t)
  t.ok(await verify(await provider.sign(rsa)))
  let connections = 0
  const server = createServer(socket => {
    connections++
    socket.destroy()
  })
  const listening = Promise.withResolvers<void>()
  server.listen(0, '127.0.0.1', listening.resolve)
  await listening.promise
  t.teardown(() => server.close())
  const address = server.address()
  if (typeof address !== 'object' || address === null) throw new Error('no port')
  const url = `http://127.0.0.1:${address.port}/keys`
  const fetched = provider.requests.length
  const { kid: _kid, ...jwk } = stranger.jwk
  const headers: Partial<JWTHeaderParameters>[] = [
    { jwk },
    { jku: url },
    { x5u: url },
    { jku: url, x5u: url, jwk },
    { x5c: [Buffer.from('certificate').toString('base64')] },
    { jku: provider.jwksUri }
  ]
  for (const header of headers) {
    t.equal(await verify(await provider.sign(stranger, {}, header)), undefined, JSON.stringify(header))
    t.equal(await verify(await provider.sign(stranger, {}, { ...header, kid: 'attacker' })), undefined)
    t.equal(await verify(await provider.sign(stranger, {}, { ...header, kid: url })), undefined)
  }
  t.equal(connections, 0)
  t.equal(provider.requests.length, fetched, 'nor did the provider hear of it')
})

// [ADMIN-17]
t.test('a token with anything changed in it is refused', async t => {
  const { provider, verify } = await trustingVerifier(t)
  for (const key of [rsa, ec, ed]) {
    const token = await provider.sign(key)
    const [header = '', payload = '', signature = ''] = token.split('.')
    const forged = base64url.encode(JSON.stringify({ ...provider.claims(), site_admin: ['*'] }))
    const elsewhere = (await provider.sign(key, { sub: 'eve' })).split('.')
    for (const changed of [
      `${header}.${forged}.${signature}`,
      `${header}.${elsewhere[1]}.${signature}`,
      `${header}.${payload}.${elsewhere[2]}`,
      `${header}.${payload}.`,
      `${header}.${payload}`,
      `${header}..${signature}`,
      `.${payload}.${signature}`,
      `${header}.${payload}.${signature}.`,
      `${header}.${payload}.${signature}.${signature}`,
      `${header}.${payload}.${signature.slice(0, -4)}`,
      `${header}.${payload}.${signature}AAAA`,
      `${header}.${payload}.${'A'.repeat(signature.length)}`
    ]) {
      t.equal(await verify(changed), undefined)
    }
    for (let i = 0; i < signature.length - 1; i += 7) {
      const other = signature[i] === 'A' ? 'B' : 'A'
      t.equal(await verify(`${header}.${payload}.${signature.slice(0, i)}${other}${signature.slice(i + 1)}`), undefined)
    }
  }
})

t.test('a valid signature over something that is not a set of claims is refused', async t => {
  const { verify } = await trustingVerifier(t)
  for (const content of ['', 'null', '[]', '"text"', '1', '{', '{"exp":1e999', 'ÿ', '\0']) {
    const token = await new CompactSign(Buffer.from(content))
      .setProtectedHeader({ alg: 'ES256', kid: 'ec' })
      .sign(ec.privateKey)
    t.equal(await verify(token), undefined, content)
  }
})

t.test('garbage is refused without an error', async t => {
  const { verify } = await trustingVerifier(t)
  const encoded = (text: string) => base64url.encode(text)
  for (const token of [
    '',
    '.',
    '..',
    '...',
    '....',
    'a.b.c',
    '=.=.=',
    '%.%.%',
    ' ',
    '\0',
    'null.null.null',
    `${encoded('{}')}.${encoded('{}')}.`,
    `${encoded('[]')}.${encoded('{}')}.AAAA`,
    `${encoded('null')}.${encoded('null')}.AAAA`,
    `${encoded('{"alg":{}}')}.${encoded('{}')}.AAAA`,
    `${encoded('{"alg":"ES256","kid":7}')}.${encoded('{}')}.AAAA`,
    `${encoded('{"alg":"ES256","kid":{}}')}.${encoded('{}')}.AAAA`,
    `${encoded('{"alg":"ES256","kid":"__proto__"}')}.${encoded('{}')}.AAAA`,
    `${encoded('{"alg":"ES256K"}')}.${encoded('{}')}.AAAA`,
    `${encoded(`${'['.repeat(10_000)}`)}.e30.AAAA`,
    'A'.repeat(16_000)
  ]) {
    t.equal(await verify(token), undefined, token.slice(0, 40))
  }
  let seed = 7
  const next = () => (seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648)
  for (let i = 0; i < 500; i++) {
    const bytes = Buffer.from(Array.from({ length: next() % 90 }, () => next() % 256))
    const parts = Array.from({ length: 1 + (next() % 5) }, () => bytes.subarray(next() % 9).toString('base64url'))
    t.equal(await verify(parts.join('.')), undefined)
  }
})

t.test('an unavailable identity provider is not reported as a bad token', async t => {
  const keys = async () => {
    throw new IssuerUnavailable(new Error('down'))
  }
  const token = await new SignJWT({}).setProtectedHeader({ alg: 'ES256' }).sign(ec.privateKey)
  await t.rejects(
    verifyAdminToken({ issuer: 'i', audience: 'a', keys }, 'site_admin', token, Date.now()),
    IssuerUnavailable
  )
})
