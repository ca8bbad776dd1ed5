import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { createDatabase, query } from '../fixtures/app/database.ts'
import type { Grantd } from '../fixtures/app/grantd.ts'
import { proxyPostgres, type TcpProxy } from '../fixtures/faults/tcp-proxy.ts'
import { type Client, countStatuses, type Outcome, Registering, slowest, Traffic } from '../fixtures/faults/traffic.ts'
import { startInstance, unrecorded, warmClients } from '../fixtures/run/instance.ts'
import { until } from '../fixtures/run/until.ts'

interface Broken {
  proxy: TcpProxy
  grantd: Grantd
  clients: Client[]
  /** Past the proxy. */
  directUrl: string
}

/** Breaks connections. @returns what mends what would not mend itself */
type Fault = (broken: Broken) => Promise<(() => void | Promise<void>) | undefined>

const FAULTS: Record<string, Fault> = {
  'reset (RST)': async ({ proxy }) => void proxy.cut(),
  'refused for a second': async ({ proxy }) => {
    await proxy.refuse()
    return () => proxy.accept()
  },
  'half-open': async ({ proxy }) => void proxy.freeze(),
  'half-open, and new ones never answered': async ({ proxy }) => {
    proxy.isBlackhole = true
    proxy.freeze()
    return () => {
      proxy.isBlackhole = false
    }
  },
  'backends stopped by SIGSTOP': async ({ directUrl }) => {
    const rows = await query(
      directUrl,
      "select pid from pg_stat_activity where datname = current_database() and application_name like 'grantd%'"
    )
    const pids: number[] = rows.map(Object).map(({ pid }) => pid)
    for (const pid of pids) process.kill(pid, 'SIGSTOP')
    return () => pids.forEach(pid => void process.kill(pid, 'SIGCONT'))
  }
}

/** At once: so many connections of the pool are then open and idle. */
const ADMINISTRATORS = 7
/** Of one administrator, who asks for one thing after the other: a connection that was being made, then one of before. */
const MAX_FAILURES = 2
/** Those two take 2 and 5 s to tell, of which one is over at the mending; and a busy machine its time. */
const CLEAN_AFTER_MS = 8_500

// [FAULT-8]
t.test('broken connections fail no exchange of a warm client, and few other requests; then all is clean', async t => {
  const directUrl = await createDatabase(t)
  const { proxy, url } = await proxyPostgres(t, directUrl)
  const { grantd } = await startInstance(t, url, { LOG_LEVEL: 'fatal' })
  const broken = { proxy, grantd, directUrl, clients: await warmClients(15, grantd) }
  for (const [name, fault] of Object.entries(FAULTS)) await t.test(name, t => breakConnections(t, broken, fault))
})

async function breakConnections(t: Test, broken: Broken, fault: Fault): Promise<void> {
  const { grantd, clients, directUrl } = broken
  const traffic = new Traffic([grantd.baseUrl], clients, { connections: 6, perSecond: 60 })
  const registering = new Registering([grantd], 20)
  await until('there is load', () => traffic.outcomes.length > 30 && registering.acknowledged.length > 3)
  await Promise.all(Array.from({ length: ADMINISTRATORS }, () => grantd.register()))
  const mend = await fault(broken)
  await sleep(1_000)
  await mend?.()
  const mended = performance.now()
  const isClean = ({ sentAt, status }: Outcome) => sentAt > mended && status === 201
  await until('administrators are served', () => registering.outcomes.some(isClean))
  await sleep(500)
  await Promise.all([traffic.stop(), registering.stop()])

  const failures = registering.outcomes.filter(({ status }) => status !== 201)
  const lastFailure = Math.max(mended, ...failures.map(({ sentAt, ms }) => sentAt + ms))
  t.same(traffic.failures, [])
  t.same(
    Object.keys(countStatuses(failures)).filter(status => status !== '503'),
    []
  )
  t.ok(mend !== undefined || failures.length <= MAX_FAILURES, JSON.stringify(failures))
  const cleanAfterMs = Math.round(lastFailure - mended)
  t.ok(cleanAfterMs < CLEAN_AFTER_MS, `clean ${cleanAfterMs} ms after the mending; ${JSON.stringify(failures)}`)
  await until('all uses are written', async () => (await unrecorded(directUrl, traffic.latest)).length === 0)
  t.comment(
    `0 of ${traffic.outcomes.length} warm exchanges failed, the slowest ${slowest(traffic.outcomes)} ms; registrations ` +
      `${JSON.stringify(countStatuses(registering.outcomes))}; clean ${cleanAfterMs} ms after the mending`
  )
}
