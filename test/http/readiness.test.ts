import t, { type Test } from 'tap'
import { Readiness } from '../../src/http/readiness.ts'
import { startApp } from '../fixtures/app/app.ts'
import {
  asServingRole,
  countStatements,
  createDatabase,
  openTestPipelinedConnections,
  openTestTables,
  query
} from '../fixtures/app/database.ts'
import { capturedLog } from '../fixtures/app/log.ts'
import { exchangeBytes } from '../fixtures/app/raw-http.ts'
import { until } from '../fixtures/run/until.ts'

t.test('all who ask at about the same time share one check', async t => {
  let checks = 0
  const answer = Promise.withResolvers<void>()
  const readiness = new Readiness({
    check: () => {
      checks++
      return answer.promise
    },
    onFailure: () => {}
  })
  const asked = Array.from({ length: 1_000 }, () => readiness.isReady())
  answer.resolve()
  t.same(new Set(await Promise.all(asked)), new Set([true]))
  t.equal(await readiness.isReady(), true)
  t.equal(checks, 1)
  await until('the answer is checked again', async () => (await readiness.isReady()) && checks === 2)
})

t.test('a check that fails or does not answer within a second is not ready, and is reported once', async t => {
  const failures: unknown[] = []
  let check: () => Promise<void> = () => Promise.reject(new Error('no table'))
  const readiness = new Readiness({ check: () => check(), onFailure: error => failures.push(error) })
  t.equal(await readiness.isReady(), false)
  let silent = 0
  check = () => {
    silent++
    return new Promise(() => {})
  }
  await until('another check is not answered', async () => !(await readiness.isReady()) && silent > 0)
  t.match(failures, [{ message: 'no table' }])
  t.equal(failures.length, 1)
  check = async () => {}
  await until('it is ready again', () => readiness.isReady())
})

/** An app whose pools the test can look into. */
async function startObserved(t: Test) {
  const { log, lines } = capturedLog()
  const databaseUrl = await createDatabase(t)
  const servingUrl = asServingRole(databaseUrl)
  const tables = openTestTables(t, servingUrl)
  const pipelined = openTestPipelinedConnections(t, servingUrl)
  const statements = { health: countStatements(pipelined.health), lookups: countStatements(pipelined.lookups) }
  const connection = {
    ...{ tables, background: tables.ofAllSites },
    ...{ ...pipelined, health: statements.health.db, lookups: statements.lookups.db }
  }
  return { grantd: await startApp(t, { log, databaseUrl, connection }), databaseUrl, lines, statements }
}

t.test('a flood of health checks asks the database a few times, and never on the connection of tokens', async t => {
  const { grantd, statements } = await startObserved(t)
  const client = await grantd.register()
  t.equal((await grantd.exchange(client)).status, 200)
  const before = { health: statements.health.counts.statements, lookups: statements.lookups.counts.statements }
  const startedAt = performance.now()
  const burst = 'GET /health/ready HTTP/1.1\r\nHost: grantd\r\n\r\n'.repeat(60)
  const floods = Array.from({ length: 20 }, () =>
    exchangeBytes(grantd.baseUrl, burst, received => received.split('HTTP/1.1 200').length > 60)
  )
  t.equal((await grantd.exchange(await grantd.register())).status, 200, 'a cold client gets its token meanwhile')
  await Promise.all(floods)
  const seconds = (performance.now() - startedAt) / 1_000
  t.ok(statements.health.counts.statements - before.health <= 2 + 5 * seconds, `${statements.health.counts.statements}`)
  t.ok(statements.lookups.counts.statements - before.lookups <= 4, 'only those of the exchange')
})

t.test('an instance that cannot read registrations is not ready, and logs why', async t => {
  const { grantd, databaseUrl, lines } = await startObserved(t)
  const isReady = async () => (await grantd.send('GET', '/health/ready')).status === 200
  t.equal(await isReady(), true)
  await query(databaseUrl, 'alter table registrations rename to elsewhere')
  await until('it is not ready', async () => !(await isReady()))
  const warnings = lines.filter(line => line.includes('not ready'))
  t.equal(warnings.length, 1)
  t.match(warnings[0], /relation .*registrations.* does not exist/)
  await query(databaseUrl, 'alter table elsewhere rename to registrations')
  await until('it is ready again', isReady)
})
