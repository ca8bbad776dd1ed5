import { generateKeyPairSync } from 'node:crypto'
import { decodeJwt } from 'jose'
import t, { type Test } from 'tap'
import { Semaphore } from '../../../src/concurrency/semaphore.ts'
import { DatabaseUnavailable } from '../../../src/database/errors.ts'
import { AssertionUses } from '../../../src/oauth/client-authentication/assertion-uses/assertion-uses.ts'
import { FailureLimiter } from '../../../src/oauth/client-authentication/failure-limiter.ts'
import { LostMacKeyRecovery } from '../../../src/oauth/client-authentication/lost-mac-key.ts'
import { MissingDigests } from '../../../src/oauth/client-authentication/missing-digests.ts'
import { ClientCache } from '../../../src/oauth/token/cache/client-cache.ts'
import { ClientLookup } from '../../../src/oauth/token/cache/client-lookup.ts'
import { type ExchangeOptions, exchange } from '../../../src/oauth/token/exchange.ts'
import { type Revalidation, Revalidator, type VersionCheck } from '../../../src/oauth/token/revalidation.ts'
import { loadTestMacKeys, startApp } from '../../fixtures/app/app.ts'
import { countStatements, openTestPipelinedConnection } from '../../fixtures/app/database.ts'
import { proxyPostgres } from '../../fixtures/faults/tcp-proxy.ts'

const NOW = Date.now()
const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })

/** Exchanges of a registration, with a count of look-ups and the checks of revalidation. */
async function start(t: Test) {
  const grantd = await startApp(t)
  const registration = await grantd.register()
  // A look-up is the only statement there.
  const { db, counts } = countStatements(openTestPipelinedConnection(t, grantd.databaseUrl))
  const checked: VersionCheck[][] = []
  const outcome: Pick<Revalidation, 'findCurrent'> = {
    findCurrent: async checks => checks.map(({ clientId, version }) => ({ client_id: clientId, version }))
  }
  const findCurrent: Revalidation['findCurrent'] = checks => {
    checked.push([...checks])
    return outcome.findCurrent(checks)
  }
  const cache = new ClientCache()
  const now = () => NOW
  const macKeys = await loadTestMacKeys(t, grantd.databaseUrl)
  const hashing = new Semaphore({ permits: 1, maxWaiting: 10 })
  const needs: ExchangeOptions = {
    ...{ cache, macKeys, now, issuer: 'https://i.example', audience: 'https://a.example', ttlSeconds: 900 },
    databaseEstimate: () => Number.POSITIVE_INFINITY,
    tokenEndpoint: 'https://i.example/oauth/token',
    revalidator: new Revalidator({ findCurrent, recordsUse: false }),
    lookup: new ClientLookup({ db, cache, macKeys, staleMs: 60_000, now }),
    assertionUses: new AssertionUses({ record: async () => [], servesStale: () => false, now }),
    recovery: new LostMacKeyRecovery({ db, macKeys, hashing }),
    missingDigests: new MissingDigests({ db, macKeys }),
    trustedIssuers: { keysOf: () => undefined },
    limiter: new FailureLimiter(100),
    keySet: {
      active: { kid: 'k', algorithm: 'ES256', privateKey, header: '' },
      published: async () => [],
      verificationKey: () => undefined,
      learn: async () => {},
      cacheSeconds: () => 0
    }
  }
  const ask = (members: Partial<ExchangeOptions> = {}, secret = registration, resource?: string) =>
    exchange(
      { ...needs, ...members },
      {
        client: { clientId: registration.clientId, credential: { kind: 'secret', secret: secret.clientSecret } },
        scope: undefined,
        resource,
        dpopProof: undefined
      },
      '192.0.2.1'
    )
  return { grantd, registration, needs, ask, checked, counts, outcome, findCurrent }
}

t.test(
  'a cached client is revalidated, not looked up, and its use is recorded by the same statement or awaited',
  async t => {
    const { registration, ask, checked, counts, findCurrent } = await start(t)
    t.match(await ask(), { lastUsedWrite: 'awaited', credentialNumber: 1 })
    t.same({ lookups: counts.statements, checked }, { lookups: 1, checked: [] })
    t.match(await ask(), { lastUsedWrite: 'awaited', credentialNumber: 1, at: NOW })
    t.same(checked, [[{ clientId: registration.clientId, version: 1, credentialNumber: 1, at: NOW, count: 1 }]])
    const revalidator = new Revalidator({ findCurrent, recordsUse: true })
    t.match(await ask({ revalidator }), { lastUsedWrite: 'done' })
    t.equal(counts.statements, 1)
  }
)

t.test('a resource adds no statement: the audience is decided in memory (RFC 8707 §2)', async t => {
  const { needs, registration, ask, counts, checked } = await start(t)
  await ask()
  const audienceOf = async (members: Partial<ExchangeOptions>) =>
    decodeJwt((await ask(members, registration, needs.audience)).accessToken).aud
  t.equal(await audienceOf({}), needs.audience)
  t.same({ lookups: counts.statements, checked: checked.length }, { lookups: 1, checked: 1 })
})

t.test('after a rotation, each of the two secrets is checked by its own number', async t => {
  const { grantd, registration, ask, checked } = await start(t)
  await ask()
  const fresh = (await grantd.asAdmin('POST', `${registration.path}/rotate-secret`)).json()
  for (const [secret, credentialNumber] of [
    [fresh, 2],
    [registration, 1],
    [fresh, 2],
    [registration, 1]
  ] as const) {
    t.match(await ask({}, secret), { credentialNumber })
  }
  t.same(
    checked.flat().map(each => each.credentialNumber),
    [1, 2, 1],
    'both are matched with the row that was looked up for the new one'
  )
})

t.test(
  'a client that is not current is looked up; when revalidation gets no answer, recording its use is deferred',
  async t => {
    const { ask, counts, outcome } = await start(t)
    await ask()
    outcome.findCurrent = async () => []
    t.match(await ask(), { lastUsedWrite: 'awaited' })
    t.equal(counts.statements, 2)
    outcome.findCurrent = async () => Promise.reject(new Error('nothing'))
    t.match(await ask(), { lastUsedWrite: 'deferred' })
    t.equal(counts.statements, 3)
  }
)

// [STOP-8]
t.test(
  'a token is dated before its row was read, so that a cut-off that the row does not have yet stops it',
  async t => {
    const { needs, ask, outcome, findCurrent } = await start(t)
    let time = NOW
    const databaseEstimate = () => time
    const now = () => time + 60_000
    const find = needs.lookup.find.bind(needs.lookup)
    needs.lookup.find = async clientId => {
      const found = await find(clientId)
      time += 1_000
      return found
    }
    const revalidator = new Revalidator({ findCurrent, recordsUse: false })
    outcome.findCurrent = async checks => {
      time += 1_000
      return checks.map(({ clientId, version }) => ({ client_id: clientId, version }))
    }
    for (const way of ['looked up', 'cached']) {
      const expected = Math.floor(time / 1_000)
      const { accessToken } = await ask({ now, databaseEstimate, revalidator })
      t.equal(decodeJwt(accessToken).iat, expected, way)
    }
  }
)

t.test('without a signing key or the database the answer is 503, and any other error stays as it is', async t => {
  const { needs, ask } = await start(t)
  const keySetOf = (error: Error) => ({
    ...needs.keySet,
    get active(): never {
      throw error
    }
  })
  const notNow = (reason: string) => ({ status: 503, code: 'temporarily_unavailable', reason })
  await t.rejects(ask({ keySet: keySetOf(new DatabaseUnavailable('away')) }), notNow('signing_key_unavailable'))
  await t.rejects(ask({ keySet: keySetOf(new RangeError('broken')) }), { name: 'RangeError', message: 'broken' })
  const away = openTestPipelinedConnection(t, 'postgresql://127.0.0.1:1/nowhere')
  const lookup = new ClientLookup({ ...needs, db: away, staleMs: 0 })
  await t.rejects(ask({ lookup }), notNow('database_unavailable'))
})

t.test('a text that cannot be a secret or an id is refused before any look-up', async t => {
  const { ask, counts, registration } = await start(t)
  const secret = { ...registration, clientSecret: 'nothing like it' }
  await t.rejects(ask({}, secret), { code: 'invalid_client', reason: 'malformed_secret' })
  t.equal(counts.statements, 0)
})

// [FAULT-35]
t.test('a row that the database no longer has never stands in for a look-up that fails', async t => {
  const { grantd, needs, ask, outcome } = await start(t)
  const { proxy, url } = await proxyPostgres(t, grantd.databaseUrl)
  const db = openTestPipelinedConnection(t, url)
  await proxy.refuse()
  const { cache, now } = needs
  const macKeys = await loadTestMacKeys(t, grantd.databaseUrl)
  const lookup = new ClientLookup({ db, cache, macKeys, staleMs: 60_000, now })
  const away = async () => {
    throw new DatabaseUnavailable('away')
  }
  const statusOf = () =>
    ask({ lookup }).then(
      () => 200,
      error => error.status
    )
  await ask()
  outcome.findCurrent = away
  t.match(await ask({ lookup }), { lastUsedWrite: 'deferred' }, 'control: nothing says that the row has changed')
  outcome.findCurrent = async () => []
  t.equal(await statusOf(), 503)
  outcome.findCurrent = away
  t.equal(await statusOf(), 503, 'that is remembered')
})
