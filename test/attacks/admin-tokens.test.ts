import { generateKeyPairSync } from 'node:crypto'
import { createServer } from 'node:net'
import { CompactEncrypt, EncryptJWT, exportJWK, exportSPKI, importJWK, type JWTHeaderParameters, SignJWT } from 'jose'
import t, { type Test } from 'tap'
import { freePort, startApp } from '../fixtures/app/app.ts'
import { type Answer, type Grantd, send } from '../fixtures/app/grantd.ts'
import { COLLECTION } from '../fixtures/app/registration.ts'
import { AUDIENCE, type IdentityProvider, makeKey, startIdentityProvider } from '../fixtures/peers/identity-provider.ts'

const rsa = await makeKey('RS256', 'rsa')
const ec = await makeKey('ES256', 'ec')
const attacker = await makeKey('ES256', 'attacker')

async function start(t: Test): Promise<{ provider: IdentityProvider; grantd: Grantd }> {
  const provider = await startIdentityProvider(t)
  provider.publish([rsa, ec])
  return { provider, grantd: await startApp(t, { trusted: provider.trusted() }) }
}

function read(grantd: Grantd, token: string): Promise<Answer> {
  return send('GET', `${grantd.baseUrl}${COLLECTION}`, { headers: { authorization: `Bearer ${token}` } })
}

async function refuses(t: Test, grantd: Grantd, token: string, what: string): Promise<void> {
  const answer = await read(grantd, token)
  t.equal(answer.status, 401, what)
  t.equal(answer.headers['www-authenticate'], 'Bearer error="invalid_token"', what)
}

function encoded(part: unknown): string {
  return Buffer.from(JSON.stringify(part)).toString('base64url')
}

// [ADMIN-1]
t.test('a token with alg none is rejected, in any spelling, with or without a signature (RFC 8725 §3.2)', async t => {
  const { provider, grantd } = await start(t)
  const claims = encoded(provider.claims())
  const [, , signature] = (await provider.sign(ec)).split('.')
  for (const alg of ['none', 'None', 'NONE', 'nOnE', '', null, undefined, ['none'], 0]) {
    for (const end of ['', signature]) {
      await refuses(t, grantd, `${encoded({ alg, kid: 'ec' })}.${claims}.${end}`, `${JSON.stringify(alg)} ${end}`)
    }
  }
})

// [ADMIN-2]
t.test('a token with HS256 and a published public key as its secret is rejected (RFC 8725 §2.1)', async t => {
  const { provider, grantd } = await start(t)
  const pem = await exportSPKI(rsa.publicKey)
  const { n = '' } = rsa.jwk
  for (const secret of [
    pem,
    pem.trim(),
    pem.replaceAll(/-----.*-----|\n/g, ''),
    JSON.stringify(rsa.jwk),
    Buffer.from(n, 'base64url'),
    n
  ]) {
    const key = Buffer.from(secret)
    for (const alg of ['HS256', 'HS384', 'HS512']) {
      const token = await new SignJWT(provider.claims()).setProtectedHeader({ alg, kid: 'rsa' }).sign(key)
      await refuses(t, grantd, token, `${alg} ${String(secret).slice(0, 20)}`)
    }
  }
})

// [ADMIN-3]
t.test(
  'a token whose claims are missing, for another audience or issuer, or expired is rejected (RFC 7519 §4.1)',
  async t => {
    const { provider, grantd } = await start(t)
    const now = Math.floor(Date.now() / 1_000)
    t.equal((await read(grantd, await provider.sign(ec))).status, 200)
    t.equal((await read(grantd, await provider.sign(ec, { aud: ['other', AUDIENCE] }))).status, 200)
    for (const claims of [
      { aud: 'other' },
      { aud: undefined },
      { aud: [] },
      { aud: ['other', `${AUDIENCE}x`] },
      { aud: { [AUDIENCE]: true } },
      { aud: AUDIENCE.toUpperCase() },
      { iss: 'https://evil.example' },
      { iss: `${provider.issuer}/` },
      { iss: undefined },
      { iss: [provider.issuer] },
      { exp: undefined },
      { exp: String(now + 3_600) },
      { exp: null },
      { exp: now - 60 },
      { exp: 0 },
      { nbf: now + 300 },
      { nbf: String(now - 60) },
      { nbf: 1e300 }
    ]) {
      await refuses(t, grantd, await provider.sign(ec, claims), JSON.stringify(claims))
    }
  }
)

// [ADMIN-4]
t.test('an encrypted token is rejected, also when its key is published (RFC 7516)', async t => {
  const { provider, grantd } = await start(t)
  const inner = await provider.sign(ec)
  const key = await importJWK({ ...rsa.jwk, alg: 'RSA-OAEP', use: 'enc' }, 'RSA-OAEP')
  const nested = await new CompactEncrypt(Buffer.from(inner))
    .setProtectedHeader({ alg: 'RSA-OAEP', enc: 'A256GCM', kid: 'rsa', cty: 'JWT' })
    .encrypt(key)
  const claims = await new EncryptJWT(provider.claims())
    .setProtectedHeader({ alg: 'RSA-OAEP', enc: 'A256GCM', kid: 'rsa' })
    .encrypt(key)
  await refuses(t, grantd, nested, 'a good token, encrypted')
  await refuses(t, grantd, claims, 'claims, encrypted')
})

// [ADMIN-5]
t.test('a token with a critical extension that grantd does not know is rejected (RFC 7515 §4.1.11)', async t => {
  const { provider, grantd } = await start(t)
  const sign = async (header: Record<string, unknown>) => {
    const input = `${encoded({ alg: 'ES256', kid: 'ec', ...header })}.${encoded(provider.claims())}`
    const signature = await crypto.subtle.sign({ name: 'ECDSA', hash: 'SHA-256' }, ec.privateKey, Buffer.from(input))
    return `${input}.${Buffer.from(signature).toString('base64url')}`
  }
  t.equal((await read(grantd, await sign({}))).status, 200, 'made by hand, it is good without one')
  for (const header of [
    { crit: ['exp'], exp: 1 },
    { crit: ['urn:example:ext'], 'urn:example:ext': true },
    { crit: ['missing'] },
    { crit: [] },
    { crit: 'exp' },
    { crit: ['b64'], b64: false }
  ]) {
    await refuses(t, grantd, await sign(header), JSON.stringify(header))
  }
})

// [ADMIN-6]
t.test('keys that a token brings or points to are not used, and 0 connections are made (RFC 8725 §3.10)', async t => {
  const { provider, grantd } = await start(t)
  let connections = 0
  const port = await freePort()
  const listener = createServer(socket => {
    connections++
    socket.destroy()
  }).listen(port, '127.0.0.1')
  t.teardown(() => listener.close())
  const url = `http://127.0.0.1:${port}/keys`
  t.equal((await read(grantd, await provider.sign(ec))).status, 200)
  const { requests } = provider
  const fetched = requests.length
  const jwk = await exportJWK(attacker.publicKey)
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const x5c = [publicKey.export({ type: 'spki', format: 'der' }).toString('base64')]
  for (const kid of ['ec', 'attacker', undefined]) {
    for (const header of [{ jku: url }, { x5u: url }, { jwk }, { x5c }, { jku: url, x5u: url, jwk, x5c }]) {
      const extra: Partial<JWTHeaderParameters> = { ...header, ...(kid !== undefined && { kid }) }
      const { alg, privateKey } = attacker
      const token = await new SignJWT(provider.claims()).setProtectedHeader({ alg, ...extra }).sign(privateKey)
      await refuses(t, grantd, token, `${kid} ${Object.keys(header)}`)
    }
  }
  t.equal(connections, 0)
  t.equal(requests.length, fetched, 'nor is the provider asked again')
})

// [ADMIN-7]
t.test('1,000 tokens with unknown keys cost at most one more fetch of the key set', async t => {
  const { provider, grantd } = await start(t)
  t.equal((await read(grantd, await provider.sign(ec))).status, 200)
  const before = provider.jwksFetches
  for (let batch = 0; batch < 20; batch++) {
    const tokens = await Promise.all(
      Array.from({ length: 50 }, (_, index) => provider.sign({ ...attacker, kid: `unknown-${batch}-${index}` }))
    )
    const statuses = await Promise.all(tokens.map(async token => (await read(grantd, token)).status))
    t.same(new Set(statuses), new Set([401]))
  }
  t.ok(provider.jwksFetches - before <= 1, `${provider.jwksFetches - before} fetches`)
  t.equal((await read(grantd, await provider.sign(ec))).status, 200)
})

// [ADMIN-8]
t.test('an access token of grantd is never an admin token, neither where it was issued nor elsewhere', async t => {
  const { grantd } = await start(t)
  const own = await startApp(t)
  const registered = await own.register({ scopes: ['admin'] })
  const { access_token: accessToken } = (await own.exchange(registered)).json()
  await refuses(t, own, accessToken, 'its own')
  await refuses(t, grantd, accessToken, "another's")
})

// [ADMIN-11]
t.test('a poisoned key set makes no forged token valid and causes no 5xx', async t => {
  const secret = Buffer.alloc(32, 7).toString('base64url')
  const poisons: [string, unknown][] = [
    ['no JSON', 'x'],
    ['an empty document', ''],
    ['null', 'null'],
    ['no keys', {}],
    ['keys of another type', { keys: 'ec' }],
    ['keys that are none', { keys: [null, 1, 'x', [], {}] }],
    ['a symmetric key', { keys: [{ kty: 'oct', kid: 'ec', k: secret, alg: 'HS256' }] }],
    ['a symmetric key without an algorithm', { keys: [{ kty: 'oct', kid: 'ec', k: secret }] }],
    ['a key that is broken', { keys: [{ ...ec.jwk, x: 'AA' }] }],
    ['a key without its numbers', { keys: [{ kty: 'EC', kid: 'ec', crv: 'P-256' }] }],
    ['a key for encryption', { keys: [{ ...ec.jwk, use: 'enc' }] }],
    ['a weak RSA key', { keys: [{ kty: 'RSA', kid: 'ec', n: 'AQAB', e: 'AQ', alg: 'RS256' }] }],
    ['two keys of one id', { keys: [ec.jwk, { ...attacker.jwk, kid: 'ec' }] }],
    ['deep JSON', '['.repeat(100_000)]
  ]
  for (const [what, document] of poisons) {
    const { provider, grantd } = await start(t)
    provider.documents.set('/keys', document)
    const symmetric = await new SignJWT(provider.claims())
      .setProtectedHeader({ alg: 'HS256', kid: 'ec' })
      .sign(Buffer.from(secret, 'base64url'))
    for (const token of [symmetric, await provider.sign(attacker), await provider.sign({ ...attacker, kid: 'x' })]) {
      const answer = await read(grantd, token)
      t.ok(answer.status === 401 || answer.status === 503, `${what}: ${answer.status}`)
      if (answer.status === 503) t.equal(answer.headers['retry-after'], '1', what)
    }
    const good = await read(grantd, await provider.sign(ec))
    // Each key with the id of a token is tried, so that one of them more makes no good token bad.
    const expected = what === 'two keys of one id' ? [200] : [401, 503]
    t.ok(expected.includes(good.status), `${what}, a good token: ${good.status}`)
    await grantd.close()
    await provider.stop()
  }
})

// [ADMIN-12]
t.test(
  'an identity provider whose answer does not end gives 503 at once, and little of the answer is read',
  async t => {
    const provider = await startIdentityProvider(t)
    provider.isEndless = true
    const grantd = await startApp(t, { trusted: provider.trusted() })
    const answer = await read(grantd, await provider.sign(ec))
    t.equal(answer.status, 503)
    t.equal(answer.headers['retry-after'], '1')
    t.ok(provider.endlessBytes < 16 * 1_048_576, `${provider.endlessBytes} bytes`)
  }
)
