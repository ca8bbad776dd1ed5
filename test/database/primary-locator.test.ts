import { type Kysely, sql } from 'kysely'
import t from 'tap'
import { DatabaseUnavailable } from '../../src/database/errors.ts'
import { openPipelinedConnection } from '../../src/database/pipelined-connection.ts'
import { PrimaryLocator } from '../../src/database/primary-locator.ts'
import type { Database } from '../../src/database/schema.ts'
import { openTables } from '../../src/database/site-scoped-pool.ts'
import { freePort } from '../fixtures/app/app.ts'
import { openTestDatabase, query } from '../fixtures/app/database.ts'
import { type PostgresCluster, startCluster } from '../fixtures/faults/cluster.ts'
import { until } from '../fixtures/run/until.ts'

async function portOf(db: Kysely<Database>): Promise<number> {
  const { rows } = await sql<{ port: string }>`show port`.execute(db)
  return Number(rows[0]?.port)
}

/** Is this the server that answers now? */
async function asks(db: Kysely<Database>, cluster: PostgresCluster): Promise<boolean> {
  return (await portOf(db).catch(() => undefined)) === cluster.port
}

async function takeWrites(cluster: PostgresCluster, does: boolean): Promise<void> {
  await query(cluster.url, `alter system set default_transaction_read_only = ${does ? 'off' : 'on'}`)
  await query(cluster.url, 'select pg_reload_conf()')
  const isReadOnly = async () => JSON.stringify(await query(cluster.url, 'show transaction_read_only')).includes('"on"')
  await until('it does as told', async () => (await isReadOnly()) !== does)
}

t.test('of several addresses the one that takes writes is asked; where that changes, no caller notices', async t => {
  const [one, other, nobody] = [await startCluster(t), await startCluster(t), await freePort()]
  const url = `postgresql://postgres@127.0.0.1:${nobody},127.0.0.1:${one.port},127.0.0.1:${other.port}/grantd?target_session_attrs=read-write`
  await takeWrites(one, false)
  const pool = openTestDatabase(t, url)
  const changes: boolean[] = []
  const lane = openPipelinedConnection({
    settings: [],
    connectionString: url,
    queryTimeoutMs: 5_000,
    name: 'test',
    onConnectionChange: (_name, isUp) => changes.push(isUp)
  })
  t.teardown(() => lane.destroy())
  t.equal(await portOf(pool), other.port)
  t.equal(await portOf(lane), other.port)

  await takeWrites(one, true)
  await other.stop('SIGKILL')
  await until('the pool has noticed', () => asks(pool, one))
  await until('the lane follows', () => asks(lane, one))
  t.same(changes, [true, false, true])

  await takeWrites(one, false)
  await query(one.url, "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'grantd%'")
  const failure = async (): Promise<unknown> => portOf(pool).catch(error => error)
  await until('it is noticed', async () => (await failure()) instanceof DatabaseUnavailable)
  t.ok((await failure()) instanceof DatabaseUnavailable, 'with nobody to take writes it is away')
  await takeWrites(one, true)
  t.equal(await portOf(pool), one.port)
})

t.test('where writes are no longer taken nobody goes on reading, though no connection broke', async t => {
  const [one, other] = [await startCluster(t), await startCluster(t)]
  for (const { url } of [one, other]) await query(url, 'create table written (at int)')
  await takeWrites(other, false)
  const connectionString = `postgresql://postgres@127.0.0.1:${one.port},127.0.0.1:${other.port}/grantd`
  const locator = new PrimaryLocator(connectionString)
  const pool = openTables({
    ...{ connectionString, locator, maxConnections: 2, queryTimeoutMs: 5_000 },
    onIdleError: () => {}
  }).ofAllSites
  t.teardown(() => pool.destroy())
  const lane = openPipelinedConnection({
    connectionString,
    locator,
    settings: [],
    queryTimeoutMs: 5_000,
    name: 'test',
    onConnectionChange: () => {}
  })
  t.teardown(() => lane.destroy())
  for (const db of [pool, lane]) t.equal(await portOf(db), one.port)

  await takeWrites(one, false)
  await takeWrites(other, true)
  t.equal(await portOf(lane), one.port, 'nobody has tried to write')
  await t.rejects(sql`insert into written values (1)`.execute(pool), DatabaseUnavailable)
  t.equal(await portOf(pool), other.port)
  await sql`insert into written values (1)`.execute(pool)
  const failure = await portOf(lane).catch(error => error)
  t.ok(failure === other.port || failure instanceof DatabaseUnavailable, 'never the one before')
  await until('the lane follows', () => asks(lane, other))
})

t.test('when no address will do, the error says of each why', async t => {
  const [reader, nobody] = [await startCluster(t), await freePort()]
  await takeWrites(reader, false)
  const urlOf = (user: string, database: string) =>
    `postgresql://${user}@127.0.0.1:${nobody},127.0.0.1:${reader.port}/${database}`
  const failureOf = async (url: string): Promise<{ cause?: { message: string }; code?: string }> =>
    portOf(openTestDatabase(t, url)).then(Object, error => error)
  const { cause } = await failureOf(urlOf('postgres', 'grantd'))
  t.match(cause?.message, `127.0.0.1:${reader.port}: the server rejects writes`)
  t.match(cause?.message, new RegExp(`127.0.0.1:${nobody}: .*ECONNREFUSED`))
  t.match(await failureOf(urlOf('postgres', 'nothing')), { code: '3D000' }, 'what no waiting mends is told as it is')
})
