import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import t, { type Test } from 'tap'
import { connect } from '../../../src/database/connect.ts'
import { freePort, startApp } from '../../fixtures/app/app.ts'
import { query } from '../../fixtures/app/database.ts'
import { type PostgresCluster, startCluster } from '../../fixtures/faults/cluster.ts'
import { leftOutFor } from '../../fixtures/faults/debian.ts'
import { spawnServer, temporaryFolder } from '../../fixtures/run/process.ts'
import { until } from '../../fixtures/run/until.ts'

const skip = leftOutFor({ pgbouncer: 'pgbouncer' })

/** @returns connection string of the login `web`, through a PgBouncer that pools in this way */
async function startPgBouncer(t: Test, cluster: PostgresCluster, poolMode: string): Promise<string> {
  const folder = temporaryFolder(t)
  const port = await freePort()
  const file = path.join(folder, 'pgbouncer.ini')
  writeFileSync(
    file,
    [
      '[databases]',
      `grantd = host=127.0.0.1 port=${cluster.port} user=postgres`,
      '[pgbouncer]',
      ...['listen_addr = 127.0.0.1', `listen_port = ${port}`, 'unix_socket_dir =', 'auth_type = any'],
      ...[`pool_mode = ${poolMode}`, 'default_pool_size = 20'],
      ...['ignore_startup_parameters = extra_float_digits', 'max_client_conn = 200']
    ].join('\n')
  )
  chmodSync(folder, 0o755)
  chmodSync(file, 0o644)
  // It does not run as root.
  const asUser = process.getuid?.() === 0 ? ['-u', 'postgres'] : []
  const pgbouncer = spawn('pgbouncer', [...asUser, file], { stdio: ['ignore', 'ignore', 'pipe'] })
  const exited = once(pgbouncer, 'exit')
  let output = ''
  pgbouncer.stderr.on('data', chunk => (output += chunk))
  t.teardown(async () => {
    pgbouncer.kill('SIGKILL')
    await exited
  })
  const url = `postgresql://postgres@127.0.0.1:${port}/grantd`
  const answers = () => query(url, 'select 1').then(Boolean, () => false)
  await until('PgBouncer answers', answers).catch(error => {
    throw new Error(output, { cause: error })
  })
  return url
}

// [START-5]
t.test(
  'a pooler by transaction is refused at start with one sentence, before anything is written',
  { skip },
  async t => {
    const cluster = await startCluster(t)
    const url = await startPgBouncer(t, cluster, 'transaction')
    const server = await spawnServer(t, { DATABASE_URL: url, DATA_DIR: temporaryFolder(t) })
    t.equal(await server.exited, 1)
    t.match(server.output(), /does not start: .*pools by transaction.*pool_mode = session/)
    t.same(await query(cluster.url, `select from pg_tables where schemaname = 'public'`), [])
  }
)

t.test('a pooler by session serves: no right secret is refused', { skip }, async t => {
  const cluster = await startCluster(t)
  const url = await startPgBouncer(t, cluster, 'session')
  const connection = await connect({
    ...{ url, migrationUrl: cluster.url, poolSize: 6 },
    onIdleError: () => {},
    onConnectionChange: () => {}
  })
  t.teardown(() => connection.close())
  await connection.assertSuitable()
  await connection.migrate()
  const grantd = await startApp(t, { databaseUrl: cluster.url, connection })
  const registrations = await Promise.all(Array.from({ length: 20 }, () => grantd.register()))
  for (let round = 0; round < 20; round++) {
    const answers = await Promise.all([
      ...registrations.map(registration => grantd.exchange(registration)),
      ...registrations.slice(0, 5).map(({ path }) => grantd.asAdmin('GET', path))
    ])
    t.same(new Set(answers.map(({ status }) => status)), new Set([200]))
  }
})
