import t, { type Test } from 'tap'
import { type Connection, connect } from '../../src/database/connect.ts'
import { ALL_SITES } from '../../src/database/site-setting.ts'
import { Clock, startApp } from '../fixtures/app/app.ts'
import { asServingRole, createDatabase, query, withClient } from '../fixtures/app/database.ts'
import { until } from '../fixtures/run/until.ts'

const POOL_SIZE = 8
const ADMIN_CONNECTIONS = 6
/** Longer than a caller waits for a connection, shorter than a statement may take. */
const SHED_WITHIN_MS = 3_000

async function open(t: Test, url: string): Promise<Connection> {
  const connection = await connect({
    url: asServingRole(url),
    migrationUrl: url,
    poolSize: POOL_SIZE,
    onIdleError: () => {},
    onConnectionChange: () => {}
  })
  t.teardown(() => connection.close())
  return connection
}

// [LOAD-7]
t.test(
  'administrators that exhaust their connections get 503, and delay neither tokens nor background work',
  async t => {
    const url = await createDatabase(t)
    const connection = await open(t, url)
    const clock = new Clock()
    const grantd = await startApp(t, { databaseUrl: url, connection, now: clock.now })
    const registered = await grantd.register()
    const quiet = await grantd.register({}, 'umbrella')
    await withClient(url, async holder => {
      await holder.query('begin')
      await holder.query('select from registrations where client_id = $1 for update', [registered.clientId])
      const change = () => grantd.asAdmin('PATCH', registered.path, { body: { name: 'another' } })
      const stuck = Array.from({ length: ADMIN_CONNECTIONS }, change)
      await until('each connection of theirs waits for the lock', async () => {
        const waiting = await query(
          url,
          `select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()`
        )
        return waiting.length === ADMIN_CONNECTIONS
      })
      const began = performance.now()
      const shed = await Promise.all(Array.from({ length: 30 }, () => grantd.asAdmin('GET', quiet.path)))
      t.ok(performance.now() - began < SHED_WITHIN_MS, 'all of them soon')
      for (const { status, headers } of shed) t.same([status, headers['retry-after']], [503, '1'])

      t.equal((await grantd.exchange(quiet)).status, 200)
      t.equal((await grantd.send('GET', '/health/ready')).status, 200)
      t.equal((await connection.background.selectFrom('registrations').select('client_id').execute()).length, 2)
      await holder.query('rollback')
      for (const answer of await Promise.all(stuck)) t.equal(answer.status, 200)
    })
    t.equal((await grantd.asAdmin('GET', quiet.path)).status, 200, 'and then all is as before')
  }
)

// [LOAD-8]
t.test('background work that is stuck delays no administrator and no token', async t => {
  const url = await createDatabase(t)
  const connection = await open(t, url)
  const grantd = await startApp(t, { databaseUrl: url, connection })
  const registered = await grantd.register()
  await withClient(url, async holder => {
    await holder.query('begin')
    await holder.query('lock table notices in access exclusive mode')
    const stuck = Array.from({ length: 10 }, () => connection.background.selectFrom('notices').select('id').execute())
    await until('each connection of its waits for the lock', async () => {
      const waiting = await query(
        url,
        `select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()`
      )
      return waiting.length === POOL_SIZE - ADMIN_CONNECTIONS
    })
    t.equal((await grantd.asAdmin('GET', registered.path)).status, 200)
    t.equal((await grantd.exchange(registered)).status, 200)
    t.equal((await grantd.send('GET', '/health/ready')).status, 200)
    await holder.query('rollback')
    t.same(
      await Promise.all(stuck),
      Array.from({ length: 10 }, () => []),
      'nothing of it is lost'
    )
  })
})

t.test('the lanes of the token endpoint see all Sites, whatever came before on their connection', async t => {
  const url = await createDatabase(t)
  const { lookups, lastUsedWriter } = await open(t, url)
  for (const lane of [lookups, lastUsedWriter]) {
    t.same(await lane.selectFrom('registrations').select('site_id').execute(), [])
    const { rows } = await lane.executeQuery<{ sites: string }>({
      ...lane.selectNoFrom(eb => eb.fn<string>('current_setting', [eb.val('grantd.site_id')]).as('sites')).compile()
    })
    t.same(rows, [{ sites: ALL_SITES }])
  }
})
