import { Writable } from 'node:stream'
import { pino } from 'pino'
import t from 'tap'
import { measureRegistrations } from '../../src/metrics/measures.ts'
import { Registry } from '../../src/metrics/registry.ts'
import { DAY_MS } from '../../src/registrations/lifecycle.ts'
import { startApp } from '../fixtures/app.ts'
import { createDatabase, openTestDatabase } from '../fixtures/database.ts'
import { proxyPostgres } from '../fixtures/tcp-proxy.ts'
import { until } from '../fixtures/until.ts'

async function read(registry: Registry, name: string): Promise<Record<string, number> | undefined> {
  return (await registry.read()).find(family => family.name === name)?.samples
}

t.test('registrations are counted by state; while the database is away the latest count stands', async t => {
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
  t.same(await read(registry, 'grantd_registrations'), counted)
  time = now + 400 * DAY_MS
  t.same(await read(registry, 'grantd_registrations'), counted, 'a count is kept for a while')

  await proxy.refuse()
  const cold = new Registry()
  measureRegistrations(cold, openTestDatabase(t, url), () => time)
  const started = performance.now()
  t.same(await read(cold, 'grantd_registrations'), {}, 'unknown, not zero')
  t.ok(performance.now() - started < 1_500, 'a scrape does not wait for the database')
  t.same(await read(registry, 'grantd_registrations'), counted)
})

t.test('that the database is away, and that it is back, shows in a metric and in one line of the log each', async t => {
  const lines: string[] = []
  const output = new Writable({
    write(chunk, _encoding, done) {
      lines.push(String(chunk))
      done()
    }
  })
  const { proxy, url } = await proxyPostgres(t, await createDatabase(t))
  const metrics = new Registry()
  const grantd = await startApp(t, { databaseUrl: url, metrics, log: pino({ level: 'info' }, output) })
  const about = (text: string) => lines.filter(line => line.includes(text)).length
  const registration = await grantd.register()
  t.equal((await grantd.exchange(registration)).status, 200)
  t.same(await read(metrics, 'grantd_database_away'), { '': 0 })

  await proxy.refuse()
  for (let time = 0; time < 3; time++) t.equal((await grantd.exchange(registration)).status, 200)
  t.same(await read(metrics, 'grantd_database_away'), { '': 1 })
  t.same(await read(metrics, 'grantd_stale_credentials_served_total'), { '': 3 })
  t.equal(about('the database is away'), 1)
  await until(
    'writing Last used has failed',
    async () => ((await read(metrics, 'grantd_last_used_write_failures_total'))?.[''] ?? 0) > 0
  )
  t.same(await read(metrics, 'grantd_last_used_waiting'), { '': 1 })
  t.equal(about('the database answers again'), 0)

  await proxy.accept()
  await until('it is back', async () => {
    await grantd.exchange(registration)
    return (await read(metrics, 'grantd_database_away'))?.[''] === 0
  })
  t.equal(about('the database answers again'), 1)
  t.equal(about('the database is away'), 1)
  await until('Last used is written', async () => (await read(metrics, 'grantd_last_used_waiting'))?.[''] === 0)
})
