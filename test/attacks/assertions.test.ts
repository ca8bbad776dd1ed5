import { constants, createHmac, sign } from 'node:crypto'
import type { JWTPayload } from 'jose'
import t from 'tap'
import { createClientSecret } from '../../src/credentials/secret.ts'
import { Clock, startApp } from '../fixtures/app/app.ts'
import {
  ASSERTION_TYPE,
  type ClientKey,
  claimsOf,
  type KeyClient,
  makeClientKey,
  registerKeyClient,
  requestWithAssertion,
  signAssertion
} from '../fixtures/app/assertion.ts'
import { query } from '../fixtures/app/database.ts'
import type { Grantd } from '../fixtures/app/grantd.ts'
import { answerBytes } from '../fixtures/app/raw-http.ts'
import { inDays } from '../fixtures/app/registration.ts'

const MANY = { TOKEN_FAILURE_LIMIT: '1000000' }
const GENERIC = { error: 'invalid_client', error_description: 'Client authentication failed.' }

/** An assertion with any header and a signature of the attacker's own. */
function forge(header: object, claims: JWTPayload, signatureOver: (input: Buffer) => Buffer): string {
  const input = [header, claims].map(part => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.')
  return `${input}.${signatureOver(Buffer.from(input)).toString('base64url')}`
}

const rawSignature =
  ({ privateKey }: ClientKey, options: object = {}) =>
  (input: Buffer) =>
    sign('sha256', input, { key: privateKey, dsaEncoding: 'ieee-p1363', ...options })

async function start(t: Parameters<typeof startApp>[0]) {
  const grantd = await startApp(t, { environment: MANY })
  return { grantd, client: await registerKeyClient(grantd) }
}

async function refused(grantd: Grantd, assertion: string): Promise<unknown> {
  const { status, text } = await requestWithAssertion(grantd, assertion)
  return { status, ...JSON.parse(text) }
}

const claimsFor = (grantd: Grantd, { clientId }: KeyClient, members = {}) =>
  claimsOf(clientId, grantd.baseUrl, Date.now(), members)

// [ASSERTION-20]
t.test('before the signature has proved right, a refusal has the bytes of the one for a wrong secret', async t => {
  const clock = new Clock()
  const grantd = await startApp(t, { now: clock.now, environment: MANY })
  const stranger = await makeClientKey()
  const expiresAt = inDays(1, clock.time)
  const make = (members = {}) => registerKeyClient(grantd, { expiresAt, ...members }, { now: clock.now })
  const [warm, deleted] = [await make(), await make()]
  for (const client of [warm, deleted]) {
    t.equal((await requestWithAssertion(grantd, await client.sign())).status, 200)
  }
  await grantd.asAdmin('DELETE', deleted.path)
  const clients = {
    unknown: { clientId: '0'.repeat(20) },
    'with a secret': await grantd.register({ expiresAt }),
    'with a key': await make(),
    'with a key of another kind': await registerKeyClient(
      grantd,
      { expiresAt },
      { key: await makeClientKey('RS256'), now: clock.now }
    ),
    'with a key, and warm': warm,
    disabled: await make({ enabled: false }),
    deleted
  }
  const bytesOf = (body: string) =>
    answerBytes(grantd.baseUrl, 'POST', '/oauth/token', { 'Content-Type': 'application/x-www-form-urlencoded' }, body)
  const wrongSecret = await bytesOf(
    `grant_type=client_credentials&client_id=${'0'.repeat(20)}&client_secret=${createClientSecret('grantd_')}`
  )
  t.match(wrongSecret, /^HTTP\/1\.1 401 Unauthorized\r\n/)
  for (const [what, { clientId }] of Object.entries(clients)) {
    const claims = claimsOf(clientId, grantd.baseUrl, clock.time)
    const assertions = {
      'another key': await signAssertion(stranger, claims),
      'another audience too': await signAssertion(stranger, { ...claims, aud: 'x' }),
      'ended long ago': await signAssertion(stranger, { ...claims, exp: 1 }),
      'no algorithm': forge({ alg: 'none' }, claims, () => Buffer.alloc(64)),
      'another type': await signAssertion(stranger, claims, { typ: 'at+jwt' }),
      'another issuer': await signAssertion(stranger, { ...claims, iss: 'x' }),
      'no JWT': 'junk'
    }
    for (const [how, assertion] of Object.entries(assertions)) {
      const type = encodeURIComponent(ASSERTION_TYPE)
      const form = `grant_type=client_credentials&client_assertion_type=${type}&client_assertion=${assertion}`
      t.equal(await bytesOf(form), wrongSecret, `${what}: ${how}`)
    }
  }
})

// [ASSERTION-10]
t.test(
  'an assertion under no algorithm, or under HS256 with the public key as the secret, is refused (RFC 8725 §2.1)',
  async t => {
    const { grantd, client } = await start(t)
    const { jwk } = client.key.credential
    const point = Buffer.concat([
      Buffer.from([4]),
      ...[jwk['x'], jwk['y']].map(part => Buffer.from(part ?? '', 'base64url'))
    ])
    for (const secret of [
      JSON.stringify(jwk),
      point,
      Buffer.from(jwk['x'] ?? '', 'base64url'),
      client.key.credential.keyId,
      ''
    ]) {
      for (const alg of ['HS256', 'hs256', 'none', 'NONE']) {
        const forged = forge({ alg }, claimsFor(grantd, client), input =>
          createHmac('sha256', secret).update(input).digest()
        )
        t.same(await refused(grantd, forged), { status: 401, ...GENERIC })
      }
    }
  }
)

// [ASSERTION-16]
t.test('aud is not compared as a prefix, in another case or with a trailing slash (RFC 10070)', async t => {
  const { grantd, client } = await start(t)
  for (const aud of [
    ...[
      `${grantd.baseUrl}/`,
      `${grantd.baseUrl}/oauth/token`,
      `${grantd.baseUrl}.evil.example`,
      grantd.baseUrl.slice(0, -1)
    ],
    ...[
      grantd.baseUrl.toUpperCase(),
      `${grantd.baseUrl}#`,
      `${grantd.baseUrl}?`,
      [grantd.baseUrl, 'https://evil.example']
    ]
  ]) {
    const assertion = await client.sign({ aud })
    t.match(
      await refused(grantd, assertion),
      { status: 401, error_description: /^aud must be the issuer/ },
      String(aud)
    )
  }
  t.equal((await requestWithAssertion(grantd, await client.sign({ aud: [grantd.baseUrl] }))).status, 200)
})

// [ASSERTION-17]
t.test('kid is no path and no SQL, and no member of the header leads to a key (RFC 8725 §3.10)', async t => {
  const { grantd, client } = await start(t)
  const stranger = await makeClientKey()
  const headers = [
    ...['../../../../dev/null', '/etc/passwd', "' or 1=1; drop table registrations; --", '\0', 'x'.repeat(4_000)].map(
      kid => ({ kid })
    ),
    { jwk: stranger.credential.jwk },
    { jku: 'http://127.0.0.1:1/jwks.json', x5u: 'http://127.0.0.1:1/cert.pem' },
    { x5c: ['MIIB'] }
  ]
  for (const header of headers) {
    const forged = forge({ alg: 'ES256', ...header }, claimsFor(grantd, client), rawSignature(stranger))
    t.same(await refused(grantd, forged), { status: 401, ...GENERIC })
    const own = forge({ alg: 'ES256', ...header }, claimsFor(grantd, client), rawSignature(client.key))
    t.equal((await requestWithAssertion(grantd, own)).status, 200, 'and the key of the registration verifies')
  }
})

// [ASSERTION-18]
t.test('an ECDSA signature in DER is refused (RFC 7518 §3.4)', async t => {
  const { grantd, client } = await start(t)
  for (let attempt = 0; attempt < 20; attempt++) {
    const forged = forge({ alg: 'ES256' }, claimsFor(grantd, client), rawSignature(client.key, { dsaEncoding: 'der' }))
    t.same(await refused(grantd, forged), { status: 401, ...GENERIC })
  }
})

// [ASSERTION-19]
t.test('RS256 is refused for a key that is registered for PS256, and the reverse (RFC 8725 §3.1)', async t => {
  const { grantd } = await start(t)
  const pss = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 }
  for (const [registered, asserted, options] of [
    ['PS256', 'RS256', {}],
    ['RS256', 'PS256', pss]
  ] as const) {
    const client = await registerKeyClient(grantd, {}, { key: await makeClientKey(registered) })
    const forged = forge({ alg: asserted }, claimsFor(grantd, client), rawSignature(client.key, options))
    t.same(await refused(grantd, forged), { status: 401, ...GENERIC })
    t.equal((await requestWithAssertion(grantd, await client.sign())).status, 200)
  }
})

// [ASSERTION-12]
t.test('a stranger cannot use up the assertion of a client: jti is looked at after the signature', async t => {
  const { grantd, client } = await start(t)
  const stranger = await makeClientKey()
  const claims = claimsFor(grantd, client)
  for (const key of [stranger, await makeClientKey()]) {
    t.same(await refused(grantd, await signAssertion(key, claims)), { status: 401, ...GENERIC })
  }
  t.same(await query(grantd.databaseUrl, 'select * from assertion_uses'), [])
  // Neither does one that the client has signed for another service.
  t.match(await refused(grantd, await client.sign({ ...claims, aud: 'https://other.example' })), { status: 401 })
  t.equal((await requestWithAssertion(grantd, await signAssertion(client.key, claims))).status, 200)
  t.match(await refused(grantd, await signAssertion(client.key, claims)), { error_description: /used before/ })
})

// [ASSERTION-13]
t.test('a client cannot use up the jti of another', async t => {
  const { grantd, client } = await start(t)
  const [second, third] = [await registerKeyClient(grantd), await registerKeyClient(grantd, {}, { key: client.key })]
  const jti = 'shared'
  for (const each of [client, second, third]) {
    t.equal((await requestWithAssertion(grantd, await each.sign({ jti }))).status, 200)
    t.match(await refused(grantd, await each.sign({ jti })), { error_description: /used before/ })
  }
})

// [ASSERTION-14]
t.test('a jti is kept until the assertion has ended, never until the exp of a client that asks for years', async t => {
  const { grantd, client } = await start(t)
  const seconds = Math.floor(Date.now() / 1_000)
  for (const exp of [seconds + 60, seconds + 300, seconds + 10 * 365 * 86_400, Number.MAX_SAFE_INTEGER]) {
    t.equal((await requestWithAssertion(grantd, await client.sign({ exp }))).status, 200)
  }
  const rows = await query(
    grantd.databaseUrl,
    'select extract(epoch from unnest(ends))::float8 as ends from assertion_uses'
  )
  t.equal(rows.length, 4)
  for (const row of rows) t.ok(Object(row).ends <= seconds + 302, String(Object(row).ends))
})

t.test('an assertion cannot be changed: not its claims, its header or a bit of its signature', async t => {
  const { grantd, client } = await start(t)
  const [header = '', claims = '', signature = ''] = (await client.sign()).split('.')
  const encoded = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const flipped = Buffer.from(signature, 'base64url')
  flipped[40] = (flipped[40] ?? 0) ^ 1
  for (const forged of [
    [header, encoded(claimsFor(grantd, client, { jti: 'another' })), signature],
    [encoded({ alg: 'ES256', typ: 'JWT' }), claims, signature],
    [header, claims, flipped.toString('base64url')]
  ]) {
    t.same(await refused(grantd, forged.join('.')), { status: 401, ...GENERIC })
  }
  t.equal((await requestWithAssertion(grantd, [header, claims, signature].join('.'))).status, 200)
})
