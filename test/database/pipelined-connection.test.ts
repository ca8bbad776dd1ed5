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
  const connection = openPipelinedConnection({
    settings: [],
    connectionString: url,
    queryTimeoutMs,
    name: 'test',
    onConnectionChange: (_name, isUp) => changes.push(isUp)
  })
  t.teardown(() => connection.destroy())
  return { connection, proxy, directUrl, changes }
}

async function numberOf(connection: Kysely<Database>, number: number): Promise<number> {
  const { rows } = await sql<{ number: number }>`select ${number}::int as number`.execute(connection)
  return rows[0]?.number ?? Number.NaN
}

const failureOf = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => undefined,
    error => error
  )

t.test('statements of many callers go down one connection at once, each answer to its caller', async t => {
  const { connection, proxy, directUrl } = await openProxied(t)
  const answers = await Promise.all(Array.from({ length: 500 }, (_, number) => numberOf(connection, number)))
  t.same(
    answers,
    Array.from({ length: 500 }, (_, number) => number)
  )
  t.equal(proxy.accepted, 1)
  const rows = await query(directUrl, "select from pg_stat_activity where application_name = 'grantd test'")
  t.equal(rows.length, 1)
})

t.test('an SQL error is for its caller alone, and keeps the connection', async t => {
  const { connection, proxy } = await openProxied(t)
  const [first, failure, last] = await Promise.all([
    numberOf(connection, 1),
    failureOf(sql`select 1 / 0`.execute(connection)),
    numberOf(connection, 3)
  ])
  t.same([first, last], [1, 3])
  t.match(failure, { code: '22012' })
  t.equal(proxy.accepted, 1)
})

t.test('after a cut what was under way fails once, and the connection comes back by itself', async t => {
  const { connection, proxy, changes } = await openProxied(t)
  await numberOf(connection, 1)
  const underWay = [sql`select pg_sleep(60)`.execute(connection), numberOf(connection, 2)].map(failureOf)
  await new Promise(setImmediate)
  proxy.cut()
  for (const failure of await Promise.all(underWay)) t.type(failure, DatabaseUnavailable)
  await until('the connection is back', () => changes.length === 3)
  t.same(changes, [true, false, true])
  t.equal(await numberOf(connection, 4), 4)
})

t.test('while the database is away statements fail at once; they work again within a second of its return', async t => {
  const { connection, proxy, changes } = await openProxied(t)
  await numberOf(connection, 1)
  await proxy.refuse()
  await until('the loss is seen', () => changes.at(-1) === false)
  const started = performance.now()
  for (let attempt = 0; attempt < 100; attempt++) t.type(await failureOf(numberOf(connection, 1)), DatabaseUnavailable)
  t.ok(performance.now() - started < 1_000, '100 refusals take no time')
  await proxy.accept()
  const returned = performance.now()
  await until('it works again', async () => (await failureOf(numberOf(connection, 1))) === undefined)
  t.ok(performance.now() - returned < 1_000)
})

t.test('a half-open connection costs its statements the time-out, once', async t => {
  const { connection, proxy } = await openProxied(t, 300)
  await numberOf(connection, 1)
  proxy.freeze()
  const failures = await Promise.all([numberOf(connection, 1), numberOf(connection, 2)].map(failureOf))
  for (const failure of failures) t.type(failure, DatabaseUnavailable)
  await until('it works again', async () => (await failureOf(numberOf(connection, 1))) === undefined)
})

t.test('a database that is away at first is found when it comes', async t => {
  const { connection, proxy } = await openProxied(t)
  await proxy.refuse()
  t.type(await failureOf(numberOf(connection, 1)), DatabaseUnavailable)
  await proxy.accept()
  await until('it works', async () => (await failureOf(numberOf(connection, 1))) === undefined)
})

/** Blocks the event loop, as a request does that computes for too long. */
function blockEventLoop(ms: number): void {
  const end = performance.now() + ms
  while (performance.now() < end);
}

// M1
t.test('a stall of the event loop is not taken for a lost database', async t => {
  const changes: boolean[] = []
  const connection = openPipelinedConnection({
    settings: [],
    connectionString: await createDatabase(t),
    queryTimeoutMs: 200,
    name: 'test',
    onConnectionChange: (_name, isUp) => changes.push(isUp)
  })
  t.teardown(() => connection.destroy())
  await numberOf(connection, 0)
  const numbers = Array.from({ length: 20 }, (_, index) => index)
  for (let round = 0; round < 3; round++) {
    const answers = numbers.map(number => numberOf(connection, number))
    // Until they are on their way.
    await new Promise(setImmediate)
    blockEventLoop(400)
    t.same(await Promise.all(answers), numbers)
  }
  t.same(changes, [true])
})
