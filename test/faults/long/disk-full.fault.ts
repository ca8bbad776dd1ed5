import { spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, rmSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { query } from '../../fixtures/app/database.ts'
import { makeCluster } from '../../fixtures/faults/cluster.ts'
import { countStatuses, Registering, slowest, Traffic } from '../../fixtures/faults/traffic.ts'
import { startInstance, unrecorded, warmClients } from '../../fixtures/run/instance.ts'
import { temporaryFolder } from '../../fixtures/run/process.ts'
import { until } from '../../fixtures/run/until.ts'

const DISK = '120m'
/** No block of 8 KiB is left free. */
const BALLAST = ['if=/dev/zero', 'bs=8k', 'status=none']

// [FAULT-18]
t.test(
  'the disk of Postgres is full: tokens are issued and other requests get 503. When there is room again, Last used is written',
  { skip: mayMount() },
  async t => {
    const disk = mountDisk(t)
    const walFolder = path.join(temporaryFolder(t), 'wal')
    // The log of changes on a disk of its own, as is usual: were that full, Postgres would stop altogether.
    const cluster = await makeCluster(t, path.join(disk, 'cluster'), [], ['--waldir', walFolder])
    await cluster.start()
    await query(cluster.urlOf('postgres'), 'create database grantd')
    const { grantd } = await startInstance(t, cluster.url, { LOG_LEVEL: 'fatal' })
    const clients = await warmClients(15, grantd)
    const traffic = new Traffic([grantd.baseUrl], clients, { connections: 6, perSecond: 60 })
    const registering = new Registering([grantd], 5)
    await until('there is load', () => registering.acknowledged.length > 5)

    const ballast = path.join(disk, 'ballast')
    spawnSync('dd', [`of=${ballast}`, ...BALLAST], { stdio: 'ignore' })
    const full = performance.now()
    // What is left of the pages of now is written first.
    await until('administrators meet it', () => registering.outcomes.some(({ status }) => status === 503), 60_000)
    await sleep(3_000)
    rmSync(ballast)
    const freed = performance.now()
    await until('administrators write', () =>
      registering.outcomes.some(({ sentAt, status }) => sentAt > freed && status === 201)
    )
    await Promise.all([traffic.stop(), registering.stop()])

    t.same(traffic.failures, [])
    t.same(Object.keys(countStatuses(registering.outcomes)).sort(), ['201', '503'])
    await until('all uses are written', async () => (await unrecorded(cluster.url, traffic.latest)).length === 0)
    t.comment(
      `${Math.round((freed - full) / 1_000)} s: 0 of ${traffic.outcomes.length} exchanges failed, the slowest ` +
        `${slowest(traffic.outcomes)} ms; registrations ${JSON.stringify(countStatuses(registering.outcomes))}; 0 Last used lost`
    )
  }
)

function mayMount(): string | false {
  const folder = '/proc/self/ns'
  const { status } = spawnSync('unshare', ['--mount', 'true'], { cwd: folder, stdio: 'ignore' })
  return status === 0 ? false : 'left out: mounting a small disk (tmpfs) takes root'
}

/** A disk of a few megabytes, gone with the test. */
function mountDisk(t: Test): string {
  const disk = path.join(temporaryFolder(t), 'disk')
  mkdirSync(disk)
  const { status, stderr } = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${DISK}`, 'grantd-test', disk])
  if (status !== 0) throw new Error(`no disk: ${stderr}`)
  chmodSync(disk, 0o700)
  t.teardown(() => void spawnSync('umount', ['-l', disk]))
  return disk
}
