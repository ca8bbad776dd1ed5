import { type Kysely, sql } from 'kysely'
import t, { type Test } from 'tap'
import { DatabaseUnavailable } from '../../src/database/errors.ts'
import { openPipelinedConnection } from '../../src/database/pipelined-connection.ts'
import type { Database } from '../../src/database/schema.ts'
import { createDatabase, query } from '../fixtures/app/database.ts'
import { proxyPostgres } from '../fixtures/faults/tcp-proxy.ts'
import { until } from '../fixtures/run/until.ts'

async function openProxied(t: Test, queryTimeoutMs = 10_000) {
  const directUrl = await createDatabase(t)
  const { proxy, url } = await proxyPostgres(t, directUrl)
  const changes: boolean[] = []
  const lane = openPipelinedConnection({
    settings: [],
    connectionString: url,
    queryTimeoutMs,
    name: 'test',
    onConnectionChange: (_name, isUp) => changes.push(isUp)
  })
  t.teardown(() => lane.destroy())
  return { lane, proxy, directUrl, changes }
}

async function numberOf(lane: Kysely<Database>, number: number): Promise<number> {
  const { rows } = await sql<{ number: number }>`select ${number}::int as number`.execute(lane)
  return rows[0]?.number ?? Number.NaN
}

const failureOf = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => undefined,
    error => error
  )

t.test('statements of many callers go down one connection at once, each answer to its caller', async t => {
  const { lane, proxy, directUrl } = await openProxied(t)
  const answers = await Promise.all(Array.from({ length: 500 }, (_, number) => numberOf(lane, number)))
  t.same(
    answers,
    Array.from({ length: 500 }, (_, number) => number)
  )
  t.equal(proxy.accepted, 1)
  const rows = await query(directUrl, "select from pg_stat_activity where application_name = 'grantd test'")
  t.equal(rows.length, 1)
})

t.test('an SQL error is for its caller alone, and keeps the connection', async t => {
  const { lane, proxy } = await openProxied(t)
  const [first, failure, last] = await Promise.all([
    numberOf(lane, 1),
    failureOf(sql`select 1 / 0`.execute(lane)),
    numberOf(lane, 3)
  ])
  t.same([first, last], [1, 3])
  t.match(failure, { code: '22012' })
  t.equal(proxy.accepted, 1)
})

t.test('after a cut what was under way fails once, and the lane comes back by itself', async t => {
  const { lane, proxy, changes } = await openProxied(t)
  await numberOf(lane, 1)
  const underWay = [sql`select pg_sleep(60)`.execute(lane), numberOf(lane, 2)].map(failureOf)
  await new Promise(setImmediate)
  proxy.cut()
  for (const failure of await Promise.all(underWay)) t.type(failure, DatabaseUnavailable)
  await until('the lane is back', () => changes.length === 3)
  t.same(changes, [true, false, true])
  t.equal(await numberOf(lane, 4), 4)
})

t.test('while the database is away statements fail at once; they work again within a second of its return', async t => {
  const { lane, proxy, changes } = await openProxied(t)
  await numberOf(lane, 1)
  await proxy.refuse()
  await until('the loss is seen', () => changes.at(-1) === false)
  const started = performance.now()
  for (let attempt = 0; attempt < 100; attempt++) t.type(await failureOf(numberOf(lane, 1)), DatabaseUnavailable)
  t.ok(performance.now() - started < 1_000, '100 refusals take no time')
  await proxy.accept()
  const returned = performance.now()
  await until('it works again', async () => (await failureOf(numberOf(lane, 1))) === undefined)
  t.ok(performance.now() - returned < 1_000)
})

t.test('a half-open connection costs its statements the time-out, once', async t => {
  const { lane, proxy } = await openProxied(t, 300)
  await numberOf(lane, 1)
  proxy.freeze()
  const failures = await Promise.all([numberOf(lane, 1), numberOf(lane, 2)].map(failureOf))
  for (const failure of failures) t.type(failure, DatabaseUnavailable)
  await until('it works again', async () => (await failureOf(numberOf(lane, 1))) === undefined)
})

t.test('a database that is away at first is found when it comes', async t => {
  const { lane, proxy } = await openProxied(t)
  await proxy.refuse()
  t.type(await failureOf(numberOf(lane, 1)), DatabaseUnavailable)
  await proxy.accept()
  await until('it works', async () => (await failureOf(numberOf(lane, 1))) === undefined)
})
