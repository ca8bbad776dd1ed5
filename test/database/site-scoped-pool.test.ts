import { type Kysely, sql } from 'kysely'
import pg from 'pg'
import t, { type Test } from 'tap'
import { DatabaseUnavailable } from '../../src/database/errors.ts'
import type { Database } from '../../src/database/schema.ts'
import { openDatabase, type PoolOptions } from '../../src/database/site-scoped-pool.ts'
import { createDatabase, query, withClient } from '../fixtures/app/database.ts'
import { proxyPostgres, type TcpProxy } from '../fixtures/faults/tcp-proxy.ts'
import { until } from '../fixtures/run/until.ts'

interface Proxied {
  db: Kysely<Database>
  proxy: TcpProxy
  /** Leads to the same database, past the proxy. */
  directUrl: string
  idleErrors: Error[]
}

async function openProxied(
  t: Test,
  { maxConnections = 4, queryTimeoutMs = 10_000, ...waiting }: Partial<PoolOptions> = {}
): Promise<Proxied> {
  const directUrl = await createDatabase(t)
  const { proxy, url } = await proxyPostgres(t, directUrl)
  const idleErrors: Error[] = []
  const db = openDatabase({
    connectionString: url,
    maxConnections,
    queryTimeoutMs,
    ...waiting,
    onIdleError: error => idleErrors.push(error)
  })
  t.teardown(() => db.destroy())
  return { db, proxy, directUrl, idleErrors }
}

async function backendPid(db: Kysely<Database>): Promise<number> {
  const { rows } = await sql<{ pid: number }>`select pg_backend_pid() as pid`.execute(db)
  return rows[0]?.pid ?? 0
}

/** Makes the pool open this many connections. @returns the backends behind them */
async function warm(db: Kysely<Database>, connections: number): Promise<Set<number>> {
  const everyone = Promise.withResolvers<void>()
  let waiting = 0
  const pids = await Promise.all(
    Array.from({ length: connections }, () =>
      db.connection().execute(async connection => {
        const pid = await backendPid(connection)
        if (++waiting === connections) everyone.resolve()
        await everyone.promise
        return pid
      })
    )
  )
  return new Set(pids)
}

/** One after the other. @returns the errors of those that failed */
async function failuresOf(db: Kysely<Database>, queries: number): Promise<unknown[]> {
  const failures: unknown[] = []
  for (let i = 0; i < queries; i++) await backendPid(db).catch(error => failures.push(error))
  return failures
}

async function failureOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => undefined,
    error => error
  )
}

function allUnavailable(t: Test, errors: unknown[]): void {
  for (const error of errors) t.type(error, DatabaseUnavailable)
}

async function untilBackendsRun(directUrl: string, text: string, count: number): Promise<void> {
  await until(`${count} backends run ${text}`, async () => {
    const rows = await query(
      directUrl,
      `select from pg_stat_activity where datname = current_database() and state = 'active'
       and pid <> pg_backend_pid() and query like '%' || $1 || '%'`,
      [text]
    )
    return rows.length === count
  })
}

t.test('no connection is made before the first query', async t => {
  const { db, proxy } = await openProxied(t)
  t.equal(proxy.accepted, 0)
  await backendPid(db)
  t.equal(proxy.accepted, 1)
})

t.test(
  'queries in flight on cut connections fail once each as DatabaseUnavailable, and the next ones work',
  async t => {
    const { db, proxy, directUrl } = await openProxied(t)
    await warm(db, 4)
    const inFlight = Promise.all(Array.from({ length: 4 }, () => failureOf(sql`select pg_sleep(60)`.execute(db))))
    await untilBackendsRun(directUrl, 'pg_sleep', 4)
    proxy.cut()
    const errors = await inFlight
    t.equal(errors.length, 4)
    allUnavailable(t, errors)
    t.same(await failuresOf(db, 20), [])
  }
)

t.test('of idle connections that are cut one costs a failure at most', async t => {
  const { db, proxy } = await openProxied(t)
  const before = await warm(db, 4)
  proxy.cut()
  const failures = await failuresOf(db, 20)
  t.ok(failures.length <= 1, `${failures.length} failures of 4 broken connections`)
  allUnavailable(t, failures)
  t.same(await failuresOf(db, 20), [])
  const after = await warm(db, 4)
  t.same(
    [...after].filter(pid => before.has(pid)),
    [],
    'none of the cut connections is in use'
  )
})

t.test('an idle connection that breaks is reported, not fatal', async t => {
  const { db, proxy, idleErrors } = await openProxied(t)
  await warm(db, 3)
  proxy.cut()
  await until('three idle errors', () => idleErrors.length === 3)
  t.same(await failuresOf(db, 5), [])
})

// [FAULT-9]
t.test('of idle half-open connections one costs a query timeout, the others are closed unused', async t => {
  const { db, proxy } = await openProxied(t, { queryTimeoutMs: 1_000 })
  await warm(db, 4)
  proxy.freeze()
  const failures = await failuresOf(db, 20)
  t.equal(failures.length, 1)
  allUnavailable(t, failures)
})

t.test('half-open connections in use cost one query timeout each, then queries work on new ones', async t => {
  const { db, proxy } = await openProxied(t, { queryTimeoutMs: 300 })
  const before = await warm(db, 4)
  proxy.freeze()
  const errors = await Promise.all(Array.from({ length: 4 }, () => failureOf(backendPid(db))))
  t.equal(errors.length, 4)
  allUnavailable(t, errors)
  t.same(await failuresOf(db, 20), [])
  const after = await warm(db, 4)
  t.same(
    [...after].filter(pid => before.has(pid)),
    []
  )
})

t.test('a refused connection is DatabaseUnavailable at once, and the first query after the return works', async t => {
  const { db, proxy } = await openProxied(t)
  await proxy.refuse()
  const startedAt = performance.now()
  allUnavailable(t, [await failureOf(backendPid(db)), await failureOf(backendPid(db))])
  t.ok(performance.now() - startedAt < 1_000, 'without waiting for a timeout')
  await proxy.accept()
  t.same(await failuresOf(db, 10), [])
})

t.test('a server that goes away under the pool and comes back costs one failure per connection', async t => {
  const { db, proxy, idleErrors } = await openProxied(t)
  await warm(db, 4)
  await proxy.refuse()
  await until('the pool has seen it', () => idleErrors.length === 4)
  allUnavailable(t, [await failureOf(backendPid(db))])
  await proxy.accept()
  t.same(await failuresOf(db, 10), [])
})

t.test('a connection that is taken but never answered is DatabaseUnavailable within three seconds', async t => {
  const { db, proxy } = await openProxied(t)
  proxy.isBlackhole = true
  const startedAt = performance.now()
  allUnavailable(t, [await failureOf(backendPid(db))])
  t.ok(performance.now() - startedAt < 3_000)
  proxy.isBlackhole = false
  t.same(await failuresOf(db, 10), [])
})

t.test(
  'a pool whose connections are all busy is DatabaseUnavailable, and serves again when one is returned',
  async t => {
    const { db } = await openProxied(t, { maxConnections: 2, waiting: { maxWaiting: 1, maxWaitMs: 200 } })
    const busy = Promise.withResolvers<void>()
    const holding = [1, 2].map(() => db.connection().execute(() => busy.promise))
    allUnavailable(t, [await failureOf(backendPid(db))])
    busy.resolve()
    await Promise.all(holding)
    t.same(await failuresOf(db, 4), [])
  }
)

t.test('an SQL error is thrown as it is and keeps its connection', async t => {
  const { db, proxy } = await openProxied(t, { maxConnections: 1 })
  const pid = await backendPid(db)
  for (const [statement, code] of [
    [sql`select 1 / 0`, '22012'],
    [sql`select from no_such_table`, '42P01'],
    [sql`selec`, '42601'],
    [sql`insert into idempotent_answers (sealed) values ('')`, '23502']
  ] as const) {
    const error = await failureOf(statement.execute(db))
    t.type(error, pg.DatabaseError)
    t.match(error, { code })
    t.equal(await backendPid(db), pid)
  }
  t.equal(proxy.accepted, 1)
})

const row = { key_digest: Buffer.alloc(32), sealed: Buffer.from('sealed'), expires_at: new Date(0) }

t.test('a unique violation is a unique violation, not DatabaseUnavailable', async t => {
  const { db } = await openProxied(t)
  await db.insertInto('idempotent_answers').values(row).execute()
  const error = await failureOf(db.insertInto('idempotent_answers').values(row).execute())
  t.notOk(error instanceof DatabaseUnavailable)
  t.match(error, { code: '23505' })
})

t.test("a transaction that the caller's own error ends is rolled back and keeps its connection", async t => {
  const { db } = await openProxied(t, { maxConnections: 1 })
  const pid = await backendPid(db)
  const own = new Error('of the caller')
  const work = db.transaction().execute(async trx => {
    await trx.insertInto('idempotent_answers').values(row).execute()
    throw own
  })
  t.equal(await failureOf(work), own)
  t.equal(await backendPid(db), pid)
  t.same(await db.selectFrom('idempotent_answers').select('sealed').execute(), [])
})

t.test('the connection of a transaction that was cut is not used again, and nothing of it stays', async t => {
  const { db, proxy } = await openProxied(t, { maxConnections: 1 })
  let broken = 0
  const work = db.transaction().execute(async trx => {
    broken = await backendPid(trx)
    await trx.insertInto('idempotent_answers').values(row).execute()
    proxy.cut()
    await until('the cut has arrived', () => proxy.open === 0)
    await backendPid(trx)
  })
  allUnavailable(t, [await failureOf(work)])
  t.not(await backendPid(db), broken)
  t.same(await db.selectFrom('idempotent_answers').select('sealed').execute(), [])
})

t.test('the connection of a transaction that went half-open is not used again, and nothing of it stays', async t => {
  const { db, proxy, directUrl } = await openProxied(t, { maxConnections: 1, queryTimeoutMs: 300 })
  let broken = 0
  const work = db.transaction().execute(async trx => {
    broken = await backendPid(trx)
    await trx.insertInto('idempotent_answers').values(row).execute()
    proxy.freeze()
    await backendPid(trx)
  })
  allUnavailable(t, [await failureOf(work)])
  t.not(await backendPid(db), broken)
  proxy.cut()
  await until('the server has let go of it', async () => {
    return (await query(directUrl, 'select from pg_stat_activity where pid = $1', [broken])).length === 0
  })
  t.same(await query(directUrl, 'select from idempotent_answers'), [])
})

t.test('a statement that waits too long is given up by the server too, and its connection stays', async t => {
  const { db, proxy, directUrl } = await openProxied(t, { maxConnections: 1, queryTimeoutMs: 1_000 })
  await query(directUrl, 'create table locked ()')
  const owner = new pg.Client({ connectionString: directUrl })
  await owner.connect()
  t.teardown(() => owner.end())
  await owner.query('begin; lock table locked')
  const startedAt = performance.now()
  const failure = failureOf(db.transaction().execute(trx => sql`select from locked`.execute(trx)))
  t.type(await failure, DatabaseUnavailable)
  t.ok(performance.now() - startedAt < 1_800, 'rolling back does not wait once more')
  await untilBackendsRun(directUrl, 'from locked', 0)
  t.same(await failuresOf(db, 5), [])
  t.equal(proxy.accepted, 1)
})

// [FAULT-10]
t.test('a transaction whose caller is lost has let go of what it has locked when another tries', async t => {
  const { db, proxy, directUrl } = await openProxied(t, { maxConnections: 1, queryTimeoutMs: 1_000 })
  await query(directUrl, 'create table locked ()')
  const startedAt = performance.now()
  const failure = failureOf(
    db.transaction().execute(async trx => {
      await sql`lock table locked`.execute(trx)
      proxy.freeze()
      await backendPid(trx)
    })
  )
  t.type(await failure, DatabaseUnavailable)
  t.ok(performance.now() - startedAt < 1_800, 'rolling back does not wait once more')
  await withClient(directUrl, async client => {
    await client.query("set lock_timeout = '700ms'")
    await client.query('select from locked')
  })
})

t.test('a commit whose answer is lost is an error, not a success', async t => {
  const { db, proxy } = await openProxied(t, { maxConnections: 1, queryTimeoutMs: 300 })
  const work = db.transaction().execute(async trx => {
    await trx.insertInto('idempotent_answers').values(row).execute()
    proxy.freeze()
  })
  allUnavailable(t, [await failureOf(work)])
  t.same(await failuresOf(db, 3), [])
})

t.test('a backend that the administrator ends is DatabaseUnavailable once', async t => {
  const { db, directUrl } = await openProxied(t, { maxConnections: 1 })
  const pid = await backendPid(db)
  const inFlight = failureOf(sql`select pg_sleep(60)`.execute(db))
  await untilBackendsRun(directUrl, 'pg_sleep', 1)
  await query(directUrl, 'select pg_terminate_backend($1)', [pid])
  allUnavailable(t, [await inFlight])
  t.same(await failuresOf(db, 5), [])
})

t.test('a database that is read-only is DatabaseUnavailable, and the connection stays', async t => {
  const { db } = await openProxied(t, { maxConnections: 1 })
  const pid = await backendPid(db)
  await sql`set default_transaction_read_only = on`.execute(db)
  allUnavailable(t, [await failureOf(db.insertInto('idempotent_answers').values(row).execute())])
  await sql`set default_transaction_read_only = off`.execute(db)
  await db.insertInto('idempotent_answers').values(row).execute()
  t.equal(await backendPid(db), pid)
})

t.test('what a statement wrote and counted comes back', async t => {
  const { db } = await openProxied(t)
  await db.insertInto('idempotent_answers').values(row).execute()
  const { numUpdatedRows } = await db
    .updateTable('idempotent_answers')
    .set({ sealed: Buffer.from('other') })
    .executeTakeFirstOrThrow()
  t.equal(numUpdatedRows, 1n)
  const { numDeletedRows } = await db
    .deleteFrom('idempotent_answers')
    .where('key_digest', '=', Buffer.alloc(32, 1))
    .executeTakeFirstOrThrow()
  t.equal(numDeletedRows, 0n)
  t.same(await db.selectFrom('idempotent_answers').select(['key_digest', 'sealed']).execute(), [
    { key_digest: row.key_digest, sealed: Buffer.from('other') }
  ])
})
