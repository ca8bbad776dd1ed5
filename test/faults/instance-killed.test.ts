import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { createDatabase } from '../fixtures/app/database.ts'
import { countStatuses, Registering, Traffic } from '../fixtures/faults/traffic.ts'
import { type Instance, missing, startInstance, unrecorded, warmClients } from '../fixtures/run/instance.ts'
import { temporaryFolder } from '../fixtures/run/process.ts'
import { until } from '../fixtures/run/until.ts'

const KILLS = 2
const CONNECTIONS = 8
/** At this pace each client exchanges less than once a second: `iat`, in seconds, tells its tokens apart. */
const CLIENTS = 40
const PER_SECOND = 30

// [FAULT-3]
t.test(
  'kill -9 of an instance under load loses no acknowledged registration and no use of a token; the other serves on',
  async t => {
    const DATABASE_URL = await createDatabase(t)
    const environment = { DATA_DIR: temporaryFolder(t), LOG_LEVEL: 'error' }
    const steady = await startInstance(t, DATABASE_URL, environment)
    let unlucky = await startInstance(t, DATABASE_URL, environment)
    const PORT = new URL(unlucky.server.baseUrl).port
    const clients = await warmClients(CLIENTS, steady.grantd, unlucky.grantd)

    const latest = new Map<string, number>()
    const acknowledged: string[] = []
    const counts: Record<string, number>[] = []
    for (let kill = 0; kill < KILLS; kill++) {
      const outcome = await loadAndKill(steady, unlucky)
      for (const [clientId, issuedAt] of outcome.latest) latest.set(clientId, issuedAt)
      acknowledged.push(...outcome.acknowledged)
      counts.push(outcome.counts)
      unlucky = await startInstance(t, DATABASE_URL, { ...environment, PORT })
    }

    t.same(await unrecorded(DATABASE_URL, latest), [], 'no token without its Last used')
    t.same(await missing(DATABASE_URL, acknowledged), [])
    t.ok(latest.size === CLIENTS && acknowledged.length > KILLS)
    t.comment(
      `${KILLS} kills: 0 of ${acknowledged.length} acknowledged registrations and 0 Last used of ${CLIENTS} clients lost; ` +
        `exchanges: ${JSON.stringify(counts)}; restarted and serving each time`
    )

    async function loadAndKill(steady: Instance, unlucky: Instance) {
      const traffic = new Traffic([steady.grantd.baseUrl, unlucky.grantd.baseUrl], clients, {
        connections: CONNECTIONS,
        perSecond: PER_SECOND
      })
      const registering = [steady, unlucky].map(({ grantd }) => new Registering([grantd], 20))
      await until('all have exchanged', () => traffic.latest.size === CLIENTS)
      await sleep(Math.random() * 200)
      const killed = performance.now()
      unlucky.server.child.kill('SIGKILL')
      await unlucky.server.exited
      await sleep(300)
      await Promise.all([traffic.stop(), ...registering.map(each => each.stop())])

      const failures = traffic.failures
      t.same(
        failures.filter(({ baseUrl }) => baseUrl === steady.grantd.baseUrl),
        [],
        'the other serves on'
      )
      t.ok(failures.every(({ sentAt, ms }) => sentAt + ms >= killed))
      t.ok(traffic.since(killed).some(({ status }) => status === 200))
      return {
        latest: traffic.latest,
        acknowledged: registering.flatMap(each => each.acknowledged),
        counts: countStatuses(traffic.outcomes)
      }
    }
  }
)
