import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { symlinkSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { createClientSecret } from '../../../src/credentials/secret.ts'
import { asServingRole, query } from '../../fixtures/app/database.ts'
import type { Grantd } from '../../fixtures/app/grantd.ts'
import { keyPair } from '../../fixtures/app/public-key.ts'
import { COLLECTION, inDays } from '../../fixtures/app/registration.ts'
import { startCluster } from '../../fixtures/faults/cluster.ts'
import { countStatuses, Registering, slowest, Traffic } from '../../fixtures/faults/traffic.ts'
import { missing, startInstance, unrecorded, warmClients } from '../../fixtures/run/instance.ts'
import { ROOT } from '../../fixtures/run/paths.ts'
import { temporaryFolder } from '../../fixtures/run/process.ts'
import { until } from '../../fixtures/run/until.ts'

/** The release that an upgrade comes from: the first one. */
const FIRST_RELEASE = '0.2.0'
const PREVIOUS_RELEASE = commitOf(FIRST_RELEASE)
/** Rows that a migration meets, so that one that rewrites a table shows. */
const REGISTRATIONS = 100_000

// [FAULT-26]
t.test(
  'the previous release serves under load while the schema is migrated and this release joins it. It also starts on the new schema',
  { skip: withoutHistory() },
  async t => {
    const cluster = await startCluster(t)
    const environment = { DATA_DIR: temporaryFolder(t), LOG_LEVEL: 'error', MIGRATION_DATABASE_URL: cluster.url }
    const root = unpack(t)
    await migrate(cluster.url, root)
    // Behind the wall, which a superuser is not.
    const serving = asServingRole(cluster.url)
    const before = await startInstance(t, serving, environment, root)
    const clients = await warmClients(15, before.grantd)
    const traffic = new Traffic([before.grantd.baseUrl], clients, { connections: 6, perSecond: 60 })
    const registering = new Registering([before.grantd], 30)
    await until('there is load', () => traffic.outcomes.length > 60 && registering.acknowledged.length > 10)

    await fill(cluster.url)
    const migrated = performance.now()
    await migrate(cluster.url, ROOT)
    const migrationMs = performance.now() - migrated
    await sleep(500)
    const after = await startInstance(t, serving, environment)
    const both = new Traffic([before.grantd.baseUrl, after.grantd.baseUrl], clients, { connections: 6, perSecond: 60 })
    await sleep(1_500)

    for (const [one, other] of [
      [before.grantd, after.grantd],
      [after.grantd, before.grantd]
    ] as const) {
      const made = await one.register()
      t.equal((await other.exchange(made)).status, 200, 'what one makes the other knows')
      t.equal((await one.asAdmin('PATCH', made.path, { body: { enabled: false } })).status, 200)
      t.equal((await other.exchange(made)).status, 401, 'what one disables the other refuses')
      for (const [path, body] of [
        [COLLECTION, { name: 'retried', expiresAt: inDays(30) }],
        [`${made.path}/rotate-secret`, {}]
      ] as const) {
        const request = { body, headers: { 'idempotency-key': randomUUID() } }
        const first = await one.asAdmin('POST', path, request)
        const retried = await other.asAdmin('POST', path, request)
        t.same([first.status, retried.status], [201, 201], retried.text)
        t.equal(retried.json().clientSecret, first.json().clientSecret, 'a retry gets the same secret')
      }
      t.equal((await other.asAdmin('DELETE', made.path)).status, 204)
    }
    await meetsKey(t, before.grantd, after.grantd)
    await Promise.all([traffic.stop(), both.stop(), registering.stop()])
    t.same(traffic.failures, [])
    t.same(both.failures, [])
    t.same(Object.keys(countStatuses(registering.outcomes)), ['201'])
    t.same(await missing(cluster.url, registering.acknowledged), [])
    t.same(await unrecorded(cluster.url, both.latest), [])

    await before.grantd.close()
    const again = await startInstance(t, serving, environment, root)
    const [client] = clients
    t.equal(client && (await again.grantd.exchange(client)).status, 200, 'the release before starts on the new schema')
    t.comment(
      `from ${PREVIOUS_RELEASE}: migrated in ${Math.round(migrationMs)} ms; 0 of ${traffic.outcomes.length + both.outcomes.length} ` +
        `exchanges failed, the slowest ${slowest(traffic.outcomes)} ms; 0 of ${registering.outcomes.length} registrations failed or lost`
    )
  }
)

/** The previous release refuses a client whose credential it does not know, shows its registration, and rotates it. */
async function meetsKey(t: Test, before: Grantd, after: Grantd): Promise<void> {
  const { publicKey } = keyPair()
  const body = { name: 'keyed', expiresAt: inDays(30), publicKey }
  const made = await after.asAdmin('POST', COLLECTION, { body })
  t.equal(made.status, 201, made.text)
  const { clientId, credential } = made.json()
  const path = String(made.headers.location)
  const wrong = createClientSecret('grantd_')
  const refused = await before.exchange({ clientId, clientSecret: wrong })
  t.equal(refused.status, 401)
  t.equal(refused.text, (await before.exchange({ clientId: 'a'.repeat(20), clientSecret: wrong })).text)
  for (const url of [path, COLLECTION]) t.equal((await before.asAdmin('GET', url)).status, 200)
  t.equal((await before.asAdmin('PATCH', path, { body: { name: 'renamed' } })).status, 200)

  const rotated = await before.asAdmin('POST', `${path}/rotate-secret`)
  t.equal(rotated.status, 201, rotated.text)
  for (const grantd of [before, after]) t.equal((await grantd.exchange(rotated.json())).status, 200)
  const { lastUsedAt: _, ...key } = credential
  t.match((await after.asAdmin('GET', path)).json(), { credential: { kind: 'secret' }, previousCredential: key })
  t.equal((await before.asAdmin('DELETE', `${path}/previous-credential`)).status, 204)
  t.equal((await after.asAdmin('POST', `${path}/rotate-secret`, { body: { publicKey } })).status, 201)
  t.equal((await before.exchange(rotated.json())).status, 200, 'the previous secret goes on')
  t.equal((await before.asAdmin('DELETE', path)).status, 204)
}

/** Returns the first commit whose package.json has this version. A tarball or a shallow clone has none. */
function commitOf(version: string): string | undefined {
  const args = ['log', '--format=%h', '--reverse', `-S"version": "${version}"`, '--', 'package.json']
  const { stdout } = spawnSync('git', args, { cwd: ROOT, encoding: 'utf8' })
  return stdout?.split('\n')[0] || undefined
}

function withoutHistory(): string | false {
  if (PREVIOUS_RELEASE !== undefined) return false
  return `left out: no commit with version ${FIRST_RELEASE} is in the history of this clone`
}

/** Unpacks the previous release. @returns its folder, with the dependencies of this one */
function unpack(t: Test): string {
  const folder = temporaryFolder(t)
  const archive = execFileSync('git', ['archive', PREVIOUS_RELEASE ?? 'HEAD'], { cwd: ROOT, maxBuffer: 2 ** 28 })
  execFileSync('tar', ['-x', '-C', folder], { input: archive })
  symlinkSync(path.join(ROOT, 'node_modules'), path.join(folder, 'node_modules'))
  return folder
}

/** Adds copies of a registration, with an id and a name of their own. */
async function fill(databaseUrl: string): Promise<void> {
  const rows = await query(
    databaseUrl,
    `select column_name as name from information_schema.columns
       where table_name = 'registrations' and is_generated = 'NEVER' and column_name not in ('client_id', 'site_id')`
  )
  const others = rows.map(Object).map(({ name }) => name)
  await query(
    databaseUrl,
    `insert into registrations (client_id, site_id, ${others.join(', ')})
       select left(md5(i::text), 20), 'filled', ${others.map(name => `first.${name}`).join(', ')}
       from (select * from registrations limit 1) as first, generate_series(1, ${REGISTRATIONS}) as i`
  )
}

/** Runs the migrations of a release as a step of its own. @param root of the release */
async function migrate(DATABASE_URL: string, root: string): Promise<void> {
  const { PATH = '' } = process.env
  const child = spawn(process.execPath, ['src/commands/migrate.ts'], {
    cwd: root,
    env: { PATH, DATABASE_URL },
    stdio: 'inherit'
  })
  const [code] = await once(child, 'exit')
  if (code !== 0) throw new Error(`not migrated: ${code}`)
}
