import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { symlinkSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { asServingRole } from '../../fixtures/app/database.ts'
import { startCluster } from '../../fixtures/faults/cluster.ts'
import { countStatuses, Registering, slowest, Traffic } from '../../fixtures/faults/traffic.ts'
import { missing, startInstance, unrecorded, warmClients } from '../../fixtures/run/instance.ts'
import { ROOT } from '../../fixtures/run/paths.ts'
import { temporaryFolder } from '../../fixtures/run/process.ts'
import { until } from '../../fixtures/run/until.ts'

/** Commit or tag of the release that an upgrade comes from. */
const PREVIOUS_RELEASE = 'eeed0b2'

// [FAULT-26]
t.test(
  'the release before goes on under load while the schema is migrated and this release joins it, and can be gone back to',
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
      t.equal((await other.asAdmin('DELETE', made.path)).status, 204)
    }
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

/** A tarball or a shallow clone has none. */
function withoutHistory(): string | false {
  const { status } = spawnSync('git', ['cat-file', '-e', `${PREVIOUS_RELEASE}^{commit}`], {
    cwd: ROOT,
    stdio: 'ignore'
  })
  return status === 0 ? false : `left out: ${PREVIOUS_RELEASE} is not in the history of this clone`
}

/** @returns the folder of the previous release, with the dependencies of this one */
function unpack(t: Test): string {
  const folder = temporaryFolder(t)
  const archive = execFileSync('git', ['archive', PREVIOUS_RELEASE], { cwd: ROOT, maxBuffer: 2 ** 28 })
  execFileSync('tar', ['-x', '-C', folder], { input: archive })
  symlinkSync(path.join(ROOT, 'node_modules'), path.join(folder, 'node_modules'))
  return folder
}

/** As a step of its own. @param root of the release whose migrations they are */
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
