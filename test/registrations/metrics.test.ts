import t from 'tap'
import { Registry } from '../../src/metrics/registry.ts'
import { measureRegistrations } from '../../src/registrations/metrics.ts'
import { startApp } from '../fixtures/app/app.ts'
import { createDatabase, openTestDatabase } from '../fixtures/app/database.ts'
import { readMetric } from '../fixtures/app/metrics.ts'
import { DAY_MS } from '../fixtures/app/registration.ts'
import { proxyPostgres } from '../fixtures/faults/tcp-proxy.ts'

t.test('registrations are counted by state, and the latest count stays while the database is away', async t => {
  const { proxy, url } = await proxyPostgres(t, await createDatabase(t))
  const grantd = await startApp(t, { databaseUrl: url })
  const now = Date.now()
  const inDays = (days: number) => ({ expiresAt: new Date(now + days * DAY_MS).toISOString() })
  for (const days of [1, 6, 8, 100, 200, 300]) await grantd.register(inDays(days))
  const registry = new Registry()
  let time = now + 2 * DAY_MS
  measureRegistrations(registry, openTestDatabase(t, url), () => time)
  const counted = {
    '{state="active"}': 3,
    '{state="expiring_30d"}': 0,
    '{state="expiring_7d"}': 2,
    '{state="expired"}': 1
  }
  t.same(await readMetric(registry, 'grantd_registrations'), counted)
  time = now + 400 * DAY_MS
  t.same(await readMetric(registry, 'grantd_registrations'), counted, 'a count is kept for a while')

  await proxy.refuse()
  const cold = new Registry()
  measureRegistrations(cold, openTestDatabase(t, url), () => time)
  const started = performance.now()
  t.same(await readMetric(cold, 'grantd_registrations'), {}, 'unknown, not zero')
  t.ok(performance.now() - started < 1_500, 'a scrape does not wait for the database')
  t.same(await readMetric(registry, 'grantd_registrations'), counted)
})
