import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { createDatabase } from '../../fixtures/app/database.ts'
import { countStatuses, type Outcome, Registering, Traffic } from '../../fixtures/faults/traffic.ts'
import { type Instance, missing, startInstance, unrecorded, warmClients } from '../../fixtures/run/instance.ts'
import { temporaryFolder } from '../../fixtures/run/process.ts'
import { until } from '../../fixtures/run/until.ts'

const KILLS = 20
const CONNECTIONS = 16
/** At this pace each client exchanges less than once a second. So `iat`, which is in seconds, tells its tokens apart. */
const CLIENTS = 100
const PER_SECOND = 80
/** A use that is not committed when its token is sent would be lost with a process that is killed this soon after. */
const AT_RISK_MS = 200
/** Tokens at risk over all kills, so that a lost use in a hundred is found. */
const MIN_AT_RISK = 60

// [FAULT-3]
t.test(
  '20 times kill -9 of an instance under load: no acknowledged registration and no use of a token is lost, and the other instance serves on',
  async t => {
    const DATABASE_URL = await createDatabase(t)
    const environment = { DATA_DIR: temporaryFolder(t), LOG_LEVEL: 'error' }
    const steady = await startInstance(t, DATABASE_URL, environment)
    let unlucky = await startInstance(t, DATABASE_URL, environment)
    const PORT = new URL(unlucky.server.baseUrl).port
    const clients = await warmClients(CLIENTS, steady.grantd, unlucky.grantd)

    const acknowledged: string[] = []
    let atRisk = 0
    const counts: Record<string, number>[] = []
    for (let kill = 0; kill < KILLS; kill++) {
      const outcome = await loadAndKill(steady, unlucky)
      // The other instance may be a moment behind with what it has served.
      await until(
        'all uses are written',
        async () => (await unrecorded(DATABASE_URL, outcome.latest)).length === 0,
        5_000
      ).catch(() => {})
      t.same(await unrecorded(DATABASE_URL, outcome.latest), [], 'no token without its Last used')
      acknowledged.push(...outcome.acknowledged)
      atRisk += outcome.atRisk
      counts.push(outcome.counts)
      unlucky = await startInstance(t, DATABASE_URL, { ...environment, PORT })
    }

    t.same(await missing(DATABASE_URL, acknowledged), [])
    t.ok(acknowledged.length > KILLS)
    t.ok(atRisk >= MIN_AT_RISK, `${atRisk} tokens at risk`)
    t.comment(
      `${KILLS} kills: 0 of ${acknowledged.length} acknowledged registrations and 0 Last used of ${CLIENTS} clients lost; ${atRisk} tokens were sent within ${AT_RISK_MS} ms before a kill; ` +
        `exchanges: ${JSON.stringify(sum(counts))}`
    )

    async function loadAndKill(steady: Instance, unlucky: Instance) {
      const traffic = new Traffic([steady.grantd.baseUrl, unlucky.grantd.baseUrl], clients, {
        connections: CONNECTIONS,
        perSecond: PER_SECOND
      })
      const registering = [steady, unlucky].map(({ grantd }) => new Registering([grantd], 100))
      await until('all have exchanged', () => traffic.outcomes.length > CLIENTS, 60_000)
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
      const isAtRisk = ({ baseUrl, status, sentAt, ms }: Outcome) =>
        baseUrl === unlucky.grantd.baseUrl && status === 200 && killed - (sentAt + ms) < AT_RISK_MS
      return {
        atRisk: traffic.outcomes.filter(isAtRisk).length,
        latest: traffic.latest,
        acknowledged: registering.flatMap(each => each.acknowledged),
        counts: countStatuses(traffic.outcomes)
      }
    }
  }
)

function sum(counts: readonly Record<string, number>[]): Record<string, number> {
  const total: Record<string, number> = {}
  for (const each of counts) {
    for (const [status, count] of Object.entries(each)) total[status] = (total[status] ?? 0) + count
  }
  return total
}
