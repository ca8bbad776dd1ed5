import { type Kysely, sql } from 'kysely'
import t from 'tap'
import { DatabaseUnavailable } from '../../src/database/errors.ts'
import { openLane } from '../../src/database/lane.ts'
import type { Database } from '../../src/database/schema.ts'
import { freePort } from '../fixtures/app.ts'
import { type PostgresCluster, startCluster } from '../fixtures/cluster.ts'
import { openTestDatabase, query } from '../fixtures/database.ts'
import { until } from '../fixtures/until.ts'

async function portOf(db: Kysely<Database>): Promise<number> {
  const { rows } = await sql<{ port: string }>`show port`.execute(db)
  return Number(rows[0]?.port)
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
  const lane = openLane({
    settings: [],
    connectionString: url,
    queryTimeoutMs: 5_000,
    name: 'test',
    onLaneChange: (_name, isUp) => changes.push(isUp)
  })
  t.teardown(() => lane.destroy())
  t.equal(await portOf(pool), other.port)
  t.equal(await portOf(lane), other.port)

  await takeWrites(one, true)
  await other.stop('SIGKILL')
  await until('the pool has noticed', () =>
    portOf(pool).then(
      port => port === one.port,
      () => false
    )
  )
  await until('the lane follows', () =>
    portOf(lane).then(
      port => port === one.port,
      () => false
    )
  )
  t.same(changes, [true, false, true])

  await takeWrites(one, false)
  await query(one.url, "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'grantd%'")
  const failure = async (): Promise<unknown> => portOf(pool).catch(error => error)
  await until('it is noticed', async () => (await failure()) instanceof DatabaseUnavailable)
  t.ok((await failure()) instanceof DatabaseUnavailable, 'with nobody to take writes it is away')
  await takeWrites(one, true)
  t.equal(await portOf(pool), one.port)
})
