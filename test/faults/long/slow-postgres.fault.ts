import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { createDatabase, query, withClient } from '../../fixtures/app/database.ts'
import type { Grantd } from '../../fixtures/app/grantd.ts'
import { proxyPostgres } from '../../fixtures/faults/tcp-proxy.ts'
import { type Client, slowest, Traffic } from '../../fixtures/faults/traffic.ts'
import { startInstance, unrecorded, warmClients } from '../../fixtures/run/instance.ts'
import { until } from '../../fixtures/run/until.ts'

/** Long enough for what waits to pile up, if it did. */
const FAULT_MS = 2_500

// [FAULT-11]
t.test('a database that answers late, by 50 or 200 ms, delays tokens and fails none', async t => {
  const directUrl = await createDatabase(t)
  const { proxy, url } = await proxyPostgres(t, directUrl)
  const { grantd } = await startInstance(t, url, { LOG_LEVEL: 'fatal' })
  const clients = await warmClients(15, grantd)
  for (const roundTripMs of [50, 200]) {
    proxy.delayMs = roundTripMs / 2
    const traffic = exchanging(grantd, clients)
    await sleep(2_000)
    t.equal((await grantd.asAdmin('GET', '/v1/app-registrations')).status, 200)
    await traffic.stop()
    proxy.delayMs = 0
    t.same(traffic.failures, [])
    // 50 ms in vain for the confirmation, one look-up, and the machine.
    t.ok(slowest(traffic.outcomes) < 50 + 2 * roundTripMs + 500)
    await until('all uses are written', async () => (await unrecorded(directUrl, traffic.latest)).length === 0)
    t.comment(`${roundTripMs} ms: 0 of ${traffic.outcomes.length} failed, the slowest ${slowest(traffic.outcomes)} ms`)
  }
})

// [FAULT-12]
t.test(
  'while the table of registrations is locked, warm clients are served and Postgres does not fill with waiting statements',
  async t => {
    const databaseUrl = await createDatabase(t)
    const { grantd } = await startInstance(t, databaseUrl, { LOG_LEVEL: 'fatal' })
    const clients = await warmClients(15, grantd)
    await withClient(databaseUrl, async client => {
      await client.query('begin; lock table registrations in access exclusive mode')
      const traffic = exchanging(grantd, clients)
      await sleep(FAULT_MS)
      const waiters = await countWaiters(databaseUrl)
      await sleep(FAULT_MS)
      const later = await countWaiters(databaseUrl)
      await client.query('rollback')
      await traffic.stop()
      t.same(traffic.failures, [])
      t.ok(later <= waiters + 2, `${later} wait after ${waiters}`)
      t.comment(
        `0 of ${traffic.outcomes.length} exchanges failed, the slowest ${slowest(traffic.outcomes)} ms; ` +
          `${waiters}, then ${later} backends waited for the lock`
      )
      await until('all uses are written', async () => (await unrecorded(databaseUrl, traffic.latest)).length === 0)
    })
  }
)

function exchanging(grantd: Grantd, clients: readonly Client[]): Traffic {
  return new Traffic([grantd.baseUrl], clients, { connections: 6, perSecond: 60 })
}

async function countWaiters(databaseUrl: string): Promise<number> {
  const rows = await query(
    databaseUrl,
    `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`
  )
  return rows.length
}
