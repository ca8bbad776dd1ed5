import { generateKeyPairSync } from 'node:crypto'
import t, { type Test } from 'tap'
import { Semaphore } from '../../../src/concurrency/semaphore.ts'
import { DatabaseUnavailable } from '../../../src/database/errors.ts'
import { SecretVerifier } from '../../../src/oauth/client-authentication/client-authentication.ts'
import { Credentials } from '../../../src/oauth/token/cache/credentials.ts'
import { FailureBrake } from '../../../src/oauth/token/cache/failure-brake.ts'
import { KnownClients } from '../../../src/oauth/token/cache/known-clients.ts'
import { type ExchangeOptions, exchange } from '../../../src/oauth/token/exchange.ts'
import { type Revalidation, Revalidator, type VersionCheck } from '../../../src/oauth/token/revalidation.ts'
import { startApp } from '../../fixtures/app/app.ts'
import { countStatements, openTestPipelinedConnection } from '../../fixtures/app/database.ts'

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
  const known = new KnownClients()
  const now = () => NOW
  const needs: ExchangeOptions = {
    ...{ known, now, issuer: 'https://i.example', audience: 'https://a.example', ttlSeconds: 900 },
    revalidator: new Revalidator({ findCurrent, recordsUse: false }),
    credentials: new Credentials({ db, known, staleMs: 60_000, now }),
    keySet: {
      active: { kid: 'k', algorithm: 'ES256', privateKey, header: '' },
      published: async () => [],
      cacheSeconds: () => 0
    },
    verifier: new SecretVerifier(new Semaphore({ permits: 1, maxWaiting: 10 })),
    brake: new FailureBrake(100)
  }
  const ask = (members: Partial<ExchangeOptions> = {}, secret = registration) =>
    exchange(
      { ...needs, ...members },
      {
        client: { clientId: registration.clientId, credential: { kind: 'secret', secret: secret.clientSecret } },
        scope: undefined
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
    t.same(checked, [[{ clientId: registration.clientId, version: 1, credentialNumber: 1, at: NOW }]])
    const revalidator = new Revalidator({ findCurrent, recordsUse: true })
    t.match(await ask({ revalidator }), { lastUsedWrite: 'done' })
    t.equal(counts.statements, 1)
  }
)

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
    'the old one is known as what was before, once the new one was looked up'
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
  const credentials = new Credentials({ db: away, known: new KnownClients(), staleMs: 0, now: needs.now })
  await t.rejects(ask({ credentials }), notNow('database_unavailable'))
})

t.test('a text that cannot be a secret is refused before any look-up', async t => {
  const { ask, counts, registration } = await start(t)
  const secret = { ...registration, clientSecret: 'nothing like it' }
  await t.rejects(ask({}, secret), { code: 'invalid_client', reason: 'malformed_secret' })
  t.equal(counts.statements, 0)
})
