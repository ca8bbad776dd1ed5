import { generateKeyPairSync } from 'node:crypto'
import t, { type Test } from 'tap'
import { Semaphore } from '../../../src/concurrency/semaphore.ts'
import { DatabaseUnavailable } from '../../../src/database/errors.ts'
import { SecretVerifier } from '../../../src/oauth/client-authentication/client-authentication.ts'
import { Credentials } from '../../../src/oauth/token/cache/credentials.ts'
import { FailureBrake } from '../../../src/oauth/token/cache/failure-brake.ts'
import { KnownClients } from '../../../src/oauth/token/cache/known-clients.ts'
import { type Asked, type Confirm, Confirmations } from '../../../src/oauth/token/confirmations.ts'
import { type ExchangeNeeds, exchange } from '../../../src/oauth/token/exchange.ts'
import { startApp } from '../../fixtures/app/app.ts'
import { countStatements, openTestLane } from '../../fixtures/app/database.ts'

const NOW = Date.now()
const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })

/** Exchanges of a registration, with a count of look-ups and what was asked to be confirmed. */
async function start(t: Test) {
  const grantd = await startApp(t)
  const registration = await grantd.register()
  // A look-up is the only statement there.
  const { db, counts } = countStatements(openTestLane(t, grantd.databaseUrl))
  const asked: Asked[][] = []
  const outcome: { confirm: Confirm } = { confirm: async all => all.map(({ clientId }) => clientId) }
  const confirm: Confirm = async all => {
    asked.push([...all])
    return outcome.confirm(all)
  }
  const known = new KnownClients()
  const now = () => NOW
  const needs: ExchangeNeeds = {
    ...{ known, now, issuer: 'https://i.example', audience: 'https://a.example', ttlSeconds: 900 },
    confirmations: new Confirmations(confirm),
    credentials: new Credentials({ db, known, staleMs: 60_000, now }),
    keySet: {
      active: { kid: 'k', algorithm: 'ES256', privateKey, header: '' },
      published: async () => [],
      cacheSeconds: () => 0
    },
    verifier: new SecretVerifier(new Semaphore({ permits: 1, maxWaiting: 10 })),
    brake: new FailureBrake(100)
  }
  const ask = (members: Partial<ExchangeNeeds> = {}, secret = registration) =>
    exchange(
      { ...needs, ...members },
      { clientId: registration.clientId, clientSecret: secret.clientSecret, usesHeader: false, scope: undefined },
      '192.0.2.1'
    )
  return { grantd, registration, needs, ask, asked, counts, outcome, confirm }
}

t.test('who is known is confirmed and not looked up; moving Last used is due, or done with the same', async t => {
  const { registration, needs, ask, asked, counts, confirm } = await start(t)
  t.match(await ask(), { lastUsed: 'due', credentialNumber: 1 })
  t.same({ lookups: counts.statements, asked }, { lookups: 1, asked: [] })
  t.match(await ask(), { lastUsed: 'due', credentialNumber: 1, at: NOW })
  t.same(asked, [[{ clientId: registration.clientId, version: 1, credentialNumber: 1, at: NOW }]])
  needs.confirmations.stampWith(confirm)
  t.match(await ask(), { lastUsed: 'moved' })
  t.equal(counts.statements, 1)
})

t.test('the secret before a rotation is known by its own number', async t => {
  const { grantd, registration, ask, asked } = await start(t)
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
    asked.flat().map(each => each.credentialNumber),
    [1, 2, 1],
    'the old one is known as what was before, once the new one was looked up'
  )
})

t.test('who is not confirmed is looked up: use is due; where nothing answers in time, late', async t => {
  const { ask, counts, outcome } = await start(t)
  await ask()
  outcome.confirm = async () => []
  t.match(await ask(), { lastUsed: 'due' })
  t.equal(counts.statements, 2)
  outcome.confirm = async () => Promise.reject(new Error('nothing'))
  t.match(await ask(), { lastUsed: 'late' })
  t.equal(counts.statements, 3)
})

t.test('without a key, or the database, it is "not now"; what else goes wrong is told as it is', async t => {
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
  const away = openTestLane(t, 'postgresql://127.0.0.1:1/nowhere')
  const credentials = new Credentials({ db: away, known: new KnownClients(), staleMs: 0, now: needs.now })
  await t.rejects(ask({ credentials }), notNow('database_unavailable'))
})

t.test('a text that cannot be a secret is refused before anything is looked up', async t => {
  const { ask, counts, registration } = await start(t)
  const secret = { ...registration, clientSecret: 'nothing like it' }
  await t.rejects(ask({}, secret), { code: 'invalid_client', reason: 'malformed_secret' })
  t.equal(counts.statements, 0)
})
