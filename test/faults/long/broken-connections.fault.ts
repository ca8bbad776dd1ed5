import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { createDatabase, query } from '../../fixtures/app/database.ts'
import type { Grantd } from '../../fixtures/app/grantd.ts'
import { proxyPostgres, type TcpProxy } from '../../fixtures/faults/tcp-proxy.ts'
import { type Client, countStatuses, Registering, slowest, Traffic } from '../../fixtures/faults/traffic.ts'
import { startInstance, unrecorded, warmClients } from '../../fixtures/run/instance.ts'
import { until } from '../../fixtures/run/until.ts'

interface Broken {
  proxy: TcpProxy
  grantd: Grantd
  clients: Client[]
  /** Leads past the proxy. */
  directUrl: string
}

interface Fault {
  /** Breaks connections. @returns how to end the fault */
  breakThem: (broken: Broken) => Promise<() => void | Promise<void>>
  /** Can new connections be made while the fault lasts? Then the service must recover while it lasts. */
  takesNewConnections: boolean
}

const FAULTS: Record<string, Fault> = {
  'reset (RST)': {
    takesNewConnections: true,
    breakThem: async ({ proxy }) => {
      proxy.cut()
      return () => {}
    }
  },
  refused: {
    takesNewConnections: false,
    breakThem: async ({ proxy }) => {
      await proxy.refuse()
      return () => proxy.accept()
    }
  },
  'half-open': {
    takesNewConnections: true,
    breakThem: async ({ proxy }) => {
      proxy.freeze()
      return () => {}
    }
  },
  'half-open, and new ones never answered': {
    takesNewConnections: false,
    breakThem: async ({ proxy }) => {
      proxy.isBlackhole = true
      proxy.freeze()
      return () => {
        proxy.isBlackhole = false
      }
    }
  },
  'backends stopped by SIGSTOP': {
    takesNewConnections: true,
    breakThem: async ({ directUrl }) => {
      const rows = await query(
        directUrl,
        "select pid from pg_stat_activity where datname = current_database() and application_name like 'grantd%'"
      )
      const pids: number[] = rows.map(Object).map(({ pid }) => pid)
      for (const pid of pids) process.kill(pid, 'SIGSTOP')
      return () => pids.forEach(pid => void process.kill(pid, 'SIGCONT'))
    }
  }
}

/** Longer than the query timeout of every connection, which is 5 s at most. */
const FAULT_MS = 9_000
/** Administrators at once before the fault: so many connections of the pool are then open and idle. */
const ADMINISTRATORS = 7
/** The query timeout, the longest wait for a connection, and what a busy machine adds. */
const ANSWERED_WITHIN_MS = 5_000 + 2_000 + 500
/** A connection that was being made when the fault ended may still have to time out. */
const CLEAN_AFTER_MS = 2_500

// [FAULT-8]
t.test(
  'broken connections fail no exchange of a warm client, and at most one request each; then all is clean',
  async t => {
    const directUrl = await createDatabase(t)
    const { proxy, url } = await proxyPostgres(t, directUrl)
    const { grantd } = await startInstance(t, url, { LOG_LEVEL: 'fatal' })
    const broken = { proxy, grantd, directUrl, clients: await warmClients(15, grantd) }
    for (const [name, fault] of Object.entries(FAULTS)) await t.test(name, t => breakConnections(t, broken, fault))
  }
)

async function breakConnections(t: Test, broken: Broken, fault: Fault): Promise<void> {
  const { proxy, grantd, clients, directUrl } = broken
  const traffic = new Traffic([grantd.baseUrl], clients, { connections: 6, perSecond: 60 })
  const registering = new Registering([grantd], 20)
  await until('there is load', () => traffic.outcomes.length > 30 && registering.acknowledged.length > 3)
  await Promise.all(Array.from({ length: ADMINISTRATORS }, () => grantd.register()))
  const connections = proxy.open
  const end = await fault.breakThem(broken)
  const brokenAt = performance.now()
  await sleep(FAULT_MS)
  const ending = performance.now()
  await end()
  await until('administrators are served', () =>
    registering.outcomes.some(({ sentAt, status }) => sentAt > ending && status === 201)
  )
  await sleep(CLEAN_AFTER_MS)
  await Promise.all([traffic.stop(), registering.stop()])

  const failures = registering.outcomes.filter(({ status }) => status !== 201)
  t.same(traffic.failures, [])
  t.same(
    Object.keys(countStatuses(failures)).filter(status => status !== '503'),
    []
  )
  t.ok(slowest(failures) < ANSWERED_WITHIN_MS, `the slowest refusal took ${slowest(failures)} ms`)
  const lastFailure = Math.max(0, ...failures.map(({ sentAt }) => sentAt))
  const cleanAfterMs = Math.round(lastFailure - (fault.takesNewConnections ? brokenAt : ending))
  if (fault.takesNewConnections) {
    t.ok(failures.length <= connections, `${failures.length} failures of ${connections} connections`)
    t.ok(lastFailure < ending, 'clean while the fault still lasts')
    t.ok(registering.outcomes.some(({ sentAt, status }) => sentAt > lastFailure && sentAt < ending && status === 201))
  } else {
    t.ok(failures.length > 0, 'the fault was felt')
    t.ok(cleanAfterMs < CLEAN_AFTER_MS, `clean ${cleanAfterMs} ms after the end of the fault`)
  }
  await until('all uses are written', async () => (await unrecorded(directUrl, traffic.latest)).length === 0)
  t.comment(
    `0 of ${traffic.outcomes.length} warm exchanges failed, the slowest ${slowest(traffic.outcomes)} ms; ${connections} ` +
      `connections; registrations ${JSON.stringify(countStatuses(registering.outcomes))}; the last failure ${cleanAfterMs} ms after ` +
      `the ${fault.takesNewConnections ? 'beginning' : 'end'} of the fault`
  )
}
