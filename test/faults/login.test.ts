import { appendFileSync, chmodSync, copyFileSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { type Connection, connect } from '../../src/database/connect.ts'
import { DatabaseUnavailable } from '../../src/database/errors.ts'
import { startApp } from '../fixtures/app/app.ts'
import { query } from '../fixtures/app/database.ts'
import { type PostgresCluster, startCluster } from '../fixtures/faults/cluster.ts'
import { ROOT } from '../fixtures/run/paths.ts'
import { until } from '../fixtures/run/until.ts'

/** Opens a connection whose password can be exchanged as a file can. */
async function openWithPassword(t: Test, cluster: PostgresCluster) {
  const hba = path.join(cluster.folder, 'pg_hba.conf')
  writeFileSync(hba, `host all web 127.0.0.1/32 scram-sha-256\n${readFileSync(hba, 'utf8')}`)
  await query(cluster.url, "create role web login password 'first'; select pg_reload_conf()")
  const urlWith = (password: string) => `postgresql://web:${password}@127.0.0.1:${cluster.port}/grantd`
  const file = { content: urlWith('first') }
  const failures: string[] = []
  const connection = await connect({
    url: file.content,
    rereadUrl: () => file.content,
    migrationUrl: cluster.url,
    poolSize: 4,
    onIdleError: () => {},
    onConnectionChange: () => {},
    onConnectFailure: error => failures.push(String(Object(error).code))
  })
  t.teardown(() => connection.close())
  await connection.migrate()
  await query(cluster.url, 'grant grantd_serving to web')
  return { connection, file, failures, urlWith }
}

const listed = ({ tables }: Connection) =>
  tables.ofSite('acme').selectFrom('registrations').select('client_id').execute()

// [FAULT-29]
t.test(
  'when the password of the database changes, its file is read again, and until then nothing is a fault',
  async t => {
    const cluster = await startCluster(t)
    const { connection, file, failures, urlWith } = await openWithPassword(t, cluster)
    const grantd = await startApp(t, { databaseUrl: cluster.url, connection })
    const registered = await grantd.register()
    t.equal((await grantd.exchange(registered)).status, 200)
    await query(cluster.url, "alter role web password 'second'")
    await query(cluster.url, "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'web'")
    await t.rejects(
      until('a connection was refused', async () => {
        await listed(connection)
        return false
      }),
      DatabaseUnavailable
    )
    const answer = await grantd.asAdmin('GET', registered.path)
    t.equal(answer.status, 503)
    t.match(answer.headers['retry-after'], /^\d+$/)

    const refused = () => cluster.log.split('password authentication failed').length - 1
    const before = refused()
    const end = performance.now() + 3_000
    while (performance.now() < end) {
      await listed(connection).catch(() => {})
      await sleep(20)
    }
    t.ok(refused() - before <= 12, `${refused() - before} attempts in 3 s`)
    t.same(
      failures.filter(code => code === '28P01'),
      ['28P01'],
      'the reason is reported once'
    )

    file.content = urlWith('second')
    await until('it serves again', async () => (await grantd.asAdmin('GET', registered.path)).status === 200)
    await until('tokens too', async () => (await grantd.exchange(registered)).status === 200)
  }
)

/** A server with a certificate that nobody trusts, for another host. */
async function startTlsCluster(t: Test): Promise<{ url: string; certificate: string }> {
  const cluster = await startCluster(t)
  const peers = path.join(ROOT, 'test/fixtures/peers')
  const certificate = path.join(peers, 'hooks.example.test.crt.pem')
  copyFileSync(certificate, path.join(cluster.folder, 'server.crt'))
  copyFileSync(path.join(peers, 'hooks.example.test.key.pem'), path.join(cluster.folder, 'server.key'))
  chmodSync(path.join(cluster.folder, 'server.key'), 0o600)
  appendFileSync(path.join(cluster.folder, 'postgresql.conf'), '\nssl = on\n')
  await query(cluster.url, 'select pg_reload_conf()')
  await until('it speaks TLS', async () => Object((await query(cluster.url, 'show ssl'))[0]).ssl === 'on')
  return { url: cluster.url, certificate }
}

// [START-4]
t.test('a fault of TLS ends the start at once, with a sentence that names the parameter', async t => {
  const { url, certificate } = await startTlsCluster(t)
  const warnings: string[] = []
  const onWarning = (warning: Error) => warnings.push(warning.message)
  process.on('warning', onWarning)
  t.teardown(() => process.off('warning', onWarning))
  for (const [parameters, message] of [
    ['sslmode=require', 'sslrootcert='],
    ['sslmode=prefer', 'sslrootcert='],
    ['sslmode=verify-full', 'sslrootcert='],
    ['sslmode=require&sslrootcert=/nowhere/ca.pem', '/nowhere/ca.pem'],
    [`sslmode=verify-ca&sslrootcert=${certificate}`, 'for another host name']
  ] as const) {
    const connection = await connect({
      ...{ url: `${url}?${parameters}`, migrationUrl: undefined, poolSize: 2 },
      onIdleError: () => {},
      onConnectionChange: () => {}
    })
    await t.rejects(connection.assertSuitable(), { name: 'UnsuitableDatabase', message }, parameters)
    await connection.close()
  }
  for (const parameters of ['sslmode=no-verify', 'uselibpqcompat=true&sslmode=require', '']) {
    const connection = await connect({
      ...{ url: `${url}?${parameters}`, migrationUrl: undefined, poolSize: 2 },
      onIdleError: () => {},
      onConnectionChange: () => {}
    })
    await t.resolves(connection.assertSuitable(), parameters)
    await connection.close()
  }
  t.same(warnings, [])
})
