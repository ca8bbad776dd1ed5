import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { Answer, Grantd } from '../../fixtures/app/grantd.ts'
import { type PostgresCluster, type Stop, startCluster, untilAnswers } from '../../fixtures/faults/cluster.ts'
import { type Client, countStatuses, Registering, slowest, Traffic } from '../../fixtures/faults/traffic.ts'
import { missing, startInstance, unrecorded, warmClients } from '../../fixtures/run/instance.ts'
import { until } from '../../fixtures/run/until.ts'

/** How long it stays away, that there is something to see. */
const AWAY_MS = 500
const BACK_WITHIN_MS = 1_000
const FAULTS: readonly (readonly [Stop, string])[] = [
  ['SIGINT', 'fast shutdown'],
  ['SIGQUIT', 'immediate shutdown'],
  ['SIGKILL', 'kill -9 of the postmaster']
]

// [FAULT-6]
t.test(
  'Postgres restarts by SIGINT, SIGQUIT and SIGKILL: warm clients are served, other requests get 503, and all is normal within a second',
  async t => {
    const cluster = await startCluster(t)
    const { grantd } = await startInstance(t, cluster.url, { LOG_LEVEL: 'error' })
    const warm = await warmClients(30, grantd)
    for (const [how, fault] of FAULTS) await t.test(fault, t => restart(t, cluster, grantd, warm, how))
  }
)

async function restart(t: Test, cluster: PostgresCluster, grantd: Grantd, warm: Client[], how: Stop): Promise<void> {
  const cold = await grantd.register()
  const traffic = new Traffic([grantd.baseUrl], warm, { connections: 8, perSecond: 100 })
  const registering = new Registering([grantd], 20)
  await until('there is load', () => traffic.outcomes.length > 50 && registering.acknowledged.length > 3)

  await cluster.stop(how)
  const refused = { cold: await grantd.exchange(cold), admin: await grantd.asAdmin('GET', '/v1/app-registrations') }
  for (const answer of Object.values(refused)) isRefused(t, answer)
  t.equal((await grantd.send('GET', '/health/live')).status, 200)
  t.equal((await grantd.send('GET', '/health/ready')).status, 503)
  await sleep(AWAY_MS)

  const returned = untilAnswers(cluster)
  await cluster.start()
  const back = await returned
  await until('cold clients exchange', async () => (await grantd.exchange(cold)).status === 200)
  const exchanges = performance.now()
  await until('registrations are made', () =>
    registering.outcomes.some(({ sentAt, status }) => sentAt > back && status === 201)
  )
  const writes = registering.outcomes.find(({ sentAt, status }) => sentAt > back && status === 201)
  await sleep(500)
  await Promise.all([traffic.stop(), registering.stop()])

  t.same(traffic.failures, [], 'warm clients exchange all the time')
  t.same(Object.keys(countStatuses(registering.outcomes)), ['201', '503'])
  t.ok(exchanges - back < BACK_WITHIN_MS)
  const written = (writes?.sentAt ?? Number.POSITIVE_INFINITY) + (writes?.ms ?? 0) - back
  t.ok(written < BACK_WITHIN_MS)
  t.same(await missing(cluster.url, registering.acknowledged), [], 'no acknowledged registration is lost')
  await until('all uses are written', async () => (await unrecorded(cluster.url, traffic.latest)).length === 0)
  t.comment(
    `${traffic.outcomes.length} warm exchanges, 0 failed, the slowest ${slowest(traffic.outcomes)} ms; ` +
      `registrations ${JSON.stringify(countStatuses(registering.outcomes))}, 0 lost; ` +
      `after its return cold clients exchanged in ${Math.round(exchanges - back)} ms, administrators wrote in ${Math.round(written)} ms`
  )
}

function isRefused(t: Test, { status, headers }: Answer): void {
  t.equal(status, 503)
  t.match(headers['retry-after'], /^\d+$/)
}
