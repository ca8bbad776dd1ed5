import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import type { Answer } from '../../fixtures/app/grantd.ts'
import { startCluster, untilAnswers } from '../../fixtures/faults/cluster.ts'
import { countStatuses, slowest, Traffic } from '../../fixtures/faults/traffic.ts'
import { startInstance, unrecorded, warmClients } from '../../fixtures/run/instance.ts'
import { until } from '../../fixtures/run/until.ts'

const AWAY_MS = 60_000
const STALE_MS = 30_000
/** What a refusal may take; the median, for the machine is shared. */
const REFUSED_WITHIN_MS = 50

// [FAULT-7]
t.test(
  'Postgres away for 60 s: warm clients are served for STALE_CREDENTIALS_SECONDS, then refused at once; all of it is made up for',
  async t => {
    const cluster = await startCluster(t)
    const { grantd } = await startInstance(t, cluster.url, {
      LOG_LEVEL: 'fatal',
      STALE_CREDENTIALS_SECONDS: String(STALE_MS / 1_000)
    })
    const clients = await warmClients(20, grantd)
    const cold = await grantd.register()
    const traffic = new Traffic([grantd.baseUrl], clients, { connections: 4, perSecond: 50 })
    // Each has exchanged within the last second when it goes.
    await until('all have exchanged', () => traffic.outcomes.length > 3 * clients.length)
    await cluster.stop('SIGKILL')
    const gone = performance.now()

    const health: Record<string, number>[] = []
    const refusals: { ms: number; answer: Answer }[] = []
    while (performance.now() - gone < AWAY_MS) {
      const sentAt = performance.now()
      refusals.push({ answer: await grantd.exchange(cold), ms: performance.now() - sentAt })
      const [live, ready] = [await grantd.send('GET', '/health/live'), await grantd.send('GET', '/health/ready')]
      health.push({ live: live.status, ready: ready.status })
      await sleep(500)
    }
    const recorded = traffic.latest
    await cluster.start()
    const back = await untilAnswers(cluster)
    await until('warm clients exchange', () => traffic.since(back).some(({ status }) => status === 200))
    const exchanged = traffic.since(back).find(({ status }) => status === 200)
    await until('all uses are written', async () => (await unrecorded(cluster.url, recorded)).length === 0)
    const written = performance.now() - back
    await traffic.stop()

    const at = (from: number, to: number) =>
      traffic.outcomes.filter(({ sentAt }) => sentAt - gone >= from && sentAt - gone < to)
    const served = at(0, STALE_MS - 2_000)
    const refused = at(STALE_MS + 100, AWAY_MS)
    t.same(Object.keys(countStatuses(served)), ['200'])
    t.same(Object.keys(countStatuses(refused)), ['503'])
    t.same(new Set(health.map(each => JSON.stringify(each))), new Set(['{"live":200,"ready":503}']))
    t.same([...new Set(refusals.map(({ answer }) => answer.status))], [503])
    for (const { answer } of refusals) t.match(answer.headers['retry-after'], /^\d+$/)
    const times = [...refused, ...refusals].map(({ ms }) => ms).sort((a, b) => a - b)
    const [median = 0, p99 = 0] = [0.5, 0.99].map(share => times[Math.floor(times.length * share)])
    t.ok(median < REFUSED_WITHIN_MS, `a refusal takes ${median} ms`)
    t.ok((exchanged?.sentAt ?? Number.POSITIVE_INFINITY) - back < 1_000)
    t.comment(
      `${served.length} exchanges from memory, 0 failed, the slowest ${slowest(served)} ms; then ${times.length} refusals ` +
        `in ${median.toFixed(1)} ms (p99 ${p99.toFixed(1)} ms); liveness 200, readiness 503; ` +
        `exchanges again after ${Math.round((exchanged?.sentAt ?? 0) - back)} ms, Last used all written after ${Math.round(written)} ms`
    )
  }
)
