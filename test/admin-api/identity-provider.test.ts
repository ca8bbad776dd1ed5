import t, { type Test } from 'tap'
import { type TrustedIssuer, verifyAdminToken } from '../../src/admin-api/admin-token.ts'
import { trustIdentityProvider } from '../../src/admin-api/identity-provider.ts'
import { IssuerUnavailable } from '../../src/issuer-keys/issuer-keys.ts'
import { HOUR_MS } from '../../src/time.ts'
import { startApp } from '../fixtures/app/app.ts'
import { type Answer, type Grantd, send } from '../fixtures/app/grantd.ts'
import { advanceClock } from '../fixtures/peers/clock.ts'
import {
  AUDIENCE,
  type IdentityProvider,
  makeKey,
  type ProviderKey,
  startIdentityProvider
} from '../fixtures/peers/identity-provider.ts'
import { until } from '../fixtures/run/until.ts'

const key = await makeKey('ES256', 'first')
const nextKey = await makeKey('ES256', 'second')
const unpublished = await makeKey('ES256', 'unpublished')

const DISCOVERY_PATH = '/.well-known/openid-configuration'
const COOL_DOWN_MS = 30_000

async function startWithKey(t: Test, path = ''): Promise<IdentityProvider> {
  const provider = await startIdentityProvider(t, path)
  provider.publish([key])
  return provider
}

async function isGood(trusted: TrustedIssuer, token: string): Promise<boolean> {
  const { administrator } = await verifyAdminToken(trusted, 'site_admin', token, Date.now())
  return administrator !== undefined
}

function unknownKeys(count: number): ProviderKey[] {
  return Array.from({ length: count }, (_, index) => ({ ...unpublished, kid: `unknown-${index}` }))
}

function readList(grantd: Grantd, token: string): Promise<Answer> {
  return send('GET', `${grantd.baseUrl}/v1/sites/acme/app-registrations`, {
    headers: { authorization: `Bearer ${token}` }
  })
}

t.test('nothing is fetched before the first token comes, and many tokens at once cost one fetch', async t => {
  const provider = await startWithKey(t)
  const trusted = provider.trusted()
  t.same(provider.requests, [])
  const tokens = await Promise.all(Array.from({ length: 20 }, () => provider.sign(key)))
  t.same(new Set(await Promise.all(tokens.map(token => isGood(trusted, token)))), new Set([true]))
  t.same(provider.requests, [DISCOVERY_PATH, '/keys'])
})

t.test('a configured key set is used without discovery', async t => {
  const provider = await startWithKey(t)
  t.ok(await isGood(provider.trusted(provider.jwksUri), await provider.sign(key)))
  t.same(provider.requests, ['/keys'])
})

t.test('the discovery document of an issuer with a path is below it (OpenID Connect Discovery §4)', async t => {
  const provider = await startWithKey(t, '/realms/acme')
  t.ok(await isGood(provider.trusted(), await provider.sign(key)))
  t.same(provider.requests, [`/realms/acme${DISCOVERY_PATH}`, '/keys'])
})

t.test('an issuer with OAuth metadata only is discovered too (RFC 8414 §3.1)', async t => {
  const provider = await startWithKey(t, '/realms/acme')
  provider.documents.delete(`/realms/acme${DISCOVERY_PATH}`)
  provider.documents.set('/.well-known/oauth-authorization-server/realms/acme', {
    issuer: provider.issuer,
    jwks_uri: provider.jwksUri
  })
  t.ok(await isGood(provider.trusted(), await provider.sign(key)))
})

t.test('a discovery document that names another issuer is refused (RFC 8414 §3.3)', async t => {
  const provider = await startWithKey(t)
  const token = await provider.sign(key)
  for (const issuer of ['https://identity.example.com', `${provider.issuer}/`, [provider.issuer], undefined]) {
    provider.documents.set(DISCOVERY_PATH, { issuer, jwks_uri: provider.jwksUri })
    await t.rejects(isGood(provider.trusted(), token), IssuerUnavailable)
  }
  t.equal(provider.jwksFetches, 0)
})

t.test('a discovery document without a usable jwks_uri is refused', async t => {
  const provider = await startWithKey(t)
  const token = await provider.sign(key)
  for (const jwks_uri of [
    undefined,
    '',
    '/keys',
    7,
    [provider.jwksUri],
    'file:///etc/passwd',
    'data:application/json,{}'
  ]) {
    provider.documents.set(DISCOVERY_PATH, { issuer: provider.issuer, jwks_uri })
    await t.rejects(isGood(provider.trusted(), token), IssuerUnavailable, JSON.stringify(jwks_uri))
  }
  for (const document of ['', 'null', '[]', '7', '{', '<html>']) {
    provider.documents.set(DISCOVERY_PATH, document)
    await t.rejects(isGood(provider.trusted(), token), IssuerUnavailable, document)
  }
  t.equal(provider.jwksFetches, 0)
})

t.test('a discovered key set by plain http is refused, except on loopback where that is allowed', async t => {
  const provider = await startWithKey(t)
  const token = await provider.sign(key)
  const { issuer } = provider
  const production = trustIdentityProvider(
    { issuer, audience: AUDIENCE, jwksUri: undefined, allowsLoopback: false },
    provider.log
  )
  await t.rejects(isGood(production, token), IssuerUnavailable)
  t.equal(provider.jwksFetches, 0)
  provider.documents.set(DISCOVERY_PATH, { issuer, jwks_uri: 'http://identity.example.com/keys' })
  await t.rejects(isGood(provider.trusted(), token), { cause: { message: /is not https/ } })
})

t.test('200 tokens with unknown keys cost at most one more fetch of the key set', async t => {
  const provider = await startWithKey(t)
  const trusted = provider.trusted()
  t.ok(await isGood(trusted, await provider.sign(key)))
  t.equal(provider.jwksFetches, 1)
  advanceClock(t, COOL_DOWN_MS + 1)
  const tokens = await Promise.all(unknownKeys(200).map(unknown => provider.sign(unknown)))
  const [first = [], second = []] = [tokens.slice(0, 100), tokens.slice(100)]
  for (const token of first) t.equal(await isGood(trusted, token), false)
  t.same(new Set(await Promise.all(second.map(token => isGood(trusted, token)))), new Set([false]))
  t.equal(provider.jwksFetches, 2)
})

for (const [what, breakIt] of [
  ['answers with an error', (provider: IdentityProvider) => (provider.status = 500)],
  ['answers with rubbish', (provider: IdentityProvider) => provider.documents.set('/keys', '{"keys":7}')],
  ['has lost its key set', (provider: IdentityProvider) => provider.documents.delete('/keys')]
] as const) {
  t.test(`200 tokens with unknown keys while the provider ${what} cost a fetch a second at most`, async t => {
    const provider = await startWithKey(t)
    const trusted = provider.trusted()
    const good = await provider.sign(key)
    t.ok(await isGood(trusted, good))
    advanceClock(t, COOL_DOWN_MS + 1)
    breakIt(provider)
    const tokens = await Promise.all(unknownKeys(200).map(unknown => provider.sign(unknown)))
    const startedAt = performance.now()
    for (const token of tokens) {
      await t.rejects(isGood(trusted, token), IssuerUnavailable)
      t.ok(await isGood(trusted, good), 'keys that are known still serve')
    }
    const seconds = Math.ceil((performance.now() - startedAt) / 1_000)
    t.ok(provider.jwksFetches <= 1 + seconds, `${provider.jwksFetches} fetches in ${seconds} s`)
  })
}

t.test('200 tokens while the discovery document is unavailable cost at most one fetch a second', async t => {
  const provider = await startWithKey(t)
  provider.status = 500
  const trusted = provider.trusted()
  const token = await provider.sign(key)
  const startedAt = performance.now()
  for (let i = 0; i < 200; i++) await t.rejects(isGood(trusted, token), IssuerUnavailable)
  const seconds = Math.ceil((performance.now() - startedAt) / 1_000)
  t.ok(provider.requests.length <= seconds, `${provider.requests.length} fetches in ${seconds} s`)
})

t.test('a new key of the provider is accepted after the cool-down, and a withdrawn one is refused', async t => {
  const provider = await startWithKey(t)
  const trusted = provider.trusted()
  t.ok(await isGood(trusted, await provider.sign(key)))
  provider.publish([nextKey, key])
  advanceClock(t, COOL_DOWN_MS + 1)
  t.ok(await isGood(trusted, await provider.sign(nextKey)))
  t.ok(await isGood(trusted, await provider.sign(key)), 'the old one is good as long as it is published')
  provider.publish([nextKey])
  advanceClock(t, 2 * COOL_DOWN_MS + 2)
  t.notOk(await isGood(trusted, await provider.sign(unpublished)))
  t.notOk(await isGood(trusted, await provider.sign(key)))
  t.ok(await isGood(trusted, await provider.sign(nextKey)))
})

t.test('published keys work for 24 hours while the provider cannot be reached, and unknown keys never do', async t => {
  const provider = await startWithKey(t)
  const trusted = provider.trusted()
  const token = await provider.sign(key)
  t.ok(await isGood(trusted, token))
  await provider.stop()
  // 23.9 hours together.
  for (const hours of [0.2, 1, 22.7]) {
    advanceClock(t, hours * HOUR_MS)
    t.ok(await isGood(trusted, token), `${hours} h`)
    await t.rejects(
      isGood(trusted, await provider.sign({ ...unpublished, kid: `unknown ${hours}` })),
      IssuerUnavailable
    )
    await t.rejects(isGood(trusted, await provider.sign(nextKey)), IssuerUnavailable, 'a key that nobody has seen')
  }
  t.same(provider.lines, ['error: the keys of an issuer cannot be fetched'], 'one line for the whole outage')
  advanceClock(t, 0.2 * HOUR_MS)
  await t.rejects(isGood(trusted, token), IssuerUnavailable)
  provider.publish([nextKey])
  await provider.start()
  advanceClock(t, 0.1 * HOUR_MS)
  t.ok(await isGood(trusted, await provider.sign(nextKey)))
  t.notOk(await isGood(trusted, token), 'the withdrawn key is refused as soon as the provider is back')
  t.same(provider.lines.slice(1), ['info: the keys of an issuer are available again'])
})

t.test('a caller whose key is known waits a second at most for a provider that does not answer', async t => {
  const provider = await startWithKey(t)
  const trusted = provider.trusted()
  const token = await provider.sign(key)
  t.ok(await isGood(trusted, token))
  provider.isSilent = true
  advanceClock(t, 11 * 60_000)
  const startedAt = performance.now()
  t.same(new Set(await Promise.all(Array.from({ length: 20 }, () => isGood(trusted, token)))), new Set([true]))
  t.ok(performance.now() - startedAt < 4_000)
  t.equal(provider.jwksFetches, 2, 'all of them wait for one fetch')
})

t.test('a change of the system time neither keeps a withdrawn key nor drops a good one', async t => {
  const provider = await startWithKey(t)
  const trusted = provider.trusted()
  const token = await provider.sign(key, { exp: Math.floor(Date.now() / 1_000) + 100 * 86_400 })
  const { now } = Date
  t.intercept(Date, 'now', { value: () => now() + 40 * 24 * HOUR_MS })
  t.ok(await isGood(trusted, token))
  t.intercept(Date, 'now', { value: now })
  provider.publish([nextKey])
  advanceClock(t, 600_001)
  t.notOk(await isGood(trusted, token))
  t.ok(await isGood(trusted, await provider.sign(nextKey)))
})

t.test('a key that is withdrawn is refused ten minutes later at the latest', async t => {
  const provider = await startWithKey(t)
  const trusted = provider.trusted()
  const token = await provider.sign(key)
  t.ok(await isGood(trusted, token))
  provider.publish([nextKey])
  advanceClock(t, 600_001)
  t.notOk(await isGood(trusted, token))
})

t.test('redirects are followed neither for the discovery document nor for the key set', async t => {
  const provider = await startWithKey(t)
  const elsewhere = await startWithKey(t)
  elsewhere.documents.set(DISCOVERY_PATH, { issuer: provider.issuer, jwks_uri: elsewhere.jwksUri })
  provider.redirectsTo = elsewhere.issuer
  const token = await provider.sign(key)
  await t.rejects(isGood(provider.trusted(), token), IssuerUnavailable)
  await t.rejects(isGood(provider.trusted(provider.jwksUri), token), IssuerUnavailable)
  t.same(provider.requests, [DISCOVERY_PATH, '/keys'])
  t.same(elsewhere.requests, [], 'nobody followed')
})

for (const how of ['discovered', 'given'] as const) {
  // [ADMIN-10]
  t.test(`a provider that is down is 503 with Retry-After, and its return needs no restart (keys ${how})`, async t => {
    const provider = await startWithKey(t)
    const grantd = await startApp(t, { trusted: provider.trusted(how === 'given' ? provider.jwksUri : undefined) })
    const token = await provider.sign(key)
    await provider.stop()
    for (let i = 0; i < 3; i++) {
      const answer = await readList(grantd, token)
      t.equal(answer.status, 503)
      t.match(String(answer.headers['retry-after']), /^[1-9]\d*$/)
      t.equal(answer.headers['content-type'], 'application/problem+json')
      t.equal(answer.headers['www-authenticate'], undefined, 'it is not known whether the token is good')
      t.equal(answer.json().code, 'unavailable')
      t.notMatch(answer.text, provider.issuer)
    }
    const absent = await send('GET', `${grantd.baseUrl}/v1/sites/acme/app-registrations`)
    t.equal(absent.status, 401, 'no token is refused all the same')
    await provider.start()
    await until('the admin API is back', async () => (await readList(grantd, token)).status === 200, 5_000)
    await provider.stop()
    t.equal((await readList(grantd, token)).status, 200, 'keys that are known serve through the next failure')
  })
}

t.test('a provider that takes the request and never answers is 503 within the time of one fetch', async t => {
  const provider = await startWithKey(t)
  const grantd = await startApp(t, { trusted: provider.trusted() })
  const token = await provider.sign(key)
  provider.isSilent = true
  const startedAt = performance.now()
  const answers = await Promise.all(Array.from({ length: 20 }, () => readList(grantd, token)))
  t.same(new Set(answers.map(({ status }) => status)), new Set([503]))
  t.ok(performance.now() - startedAt < 8_000)
  t.equal(provider.requests.length, 1, 'all of them wait for one fetch')
  provider.isSilent = false
  await until('the admin API is back', async () => (await readList(grantd, token)).status === 200, 5_000)
})

t.test('a token of the provider opens its Sites over HTTP, and a token of a stranger opens none', async t => {
  const provider = await startWithKey(t)
  const grantd = await startApp(t, { trusted: provider.trusted() })
  t.equal((await readList(grantd, await provider.sign(key))).status, 200)
  t.equal((await readList(grantd, await provider.sign({ ...unpublished, kid: key.kid }))).status, 401)
  t.equal((await readList(grantd, await grantd.adminToken(['acme']))).status, 401)
})
