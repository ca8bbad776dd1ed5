import { Writable } from 'node:stream'
import { pino } from 'pino'
import t from 'tap'
import { measureDeadDeliveries, measureRegistrations } from '../../src/metrics/measures.ts'
import { Registry } from '../../src/metrics/registry.ts'
import { DAY_MS } from '../../src/time.ts'
import { Clock, startApp } from '../fixtures/app/app.ts'
import { createDatabase, openTestDatabase } from '../fixtures/app/database.ts'
import { proxyPostgres } from '../fixtures/faults/tcp-proxy.ts'
import { startWebhookReceiver } from '../fixtures/peers/webhook-receiver.ts'
import { until } from '../fixtures/run/until.ts'

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

t.test('tries to deliver notices are counted; dead ones while they can be sent again', async t => {
  const clock = new Clock()
  const receiver = await startWebhookReceiver(t, response => response.writeHead(410).end())
  const metrics = new Registry()
  const grantd = await startApp(t, {
    metrics,
    now: clock.now,
    environment: { NOTICE_WEBHOOK_ALLOW: '127.0.0.1', NOTICE_INTERVAL_SECONDS: '1' }
  })
  t.same(await read(metrics, 'grantd_notice_deliveries_total'), {
    '{outcome="delivered"}': 0,
    '{outcome="failed"}': 0,
    '{outcome="dead"}': 0
  })
  const dead = async () => {
    const fresh = new Registry()
    measureDeadDeliveries(fresh, openTestDatabase(t, grantd.databaseUrl))
    return (await read(fresh, 'grantd_notice_deliveries_dead'))?.['']
  }
  t.equal(await dead(), 0)
  for (const kind of ['gone', 'other'] as const) {
    const body = { kind: 'webhook', url: `${receiver.url}/${kind}` }
    await grantd.asAdmin('POST', '/v1/sites/acme/notice-receivers', { body })
  }
  const expiresAt = new Date(clock.time + 8 * DAY_MS).toISOString()
  const [renewed] = [await grantd.register({ expiresAt }), await grantd.register({ expiresAt })]
  clock.advance(DAY_MS)
  await until(
    'all are given up on',
    async () => (await read(metrics, 'grantd_notice_deliveries_total'))?.['{outcome="dead"}'] === 4
  )
  t.equal(await dead(), 4)
  const later = new Date(clock.time + 300 * DAY_MS).toISOString()
  await grantd.asAdmin('PATCH', renewed.path, { body: { expiresAt: later } })
  t.equal(await dead(), 2, 'nobody need be told of an expiry that was moved')
  const [{ receiverId }] = (await grantd.asAdmin('GET', '/v1/sites/acme/notice-receivers')).json().items
  await grantd.asAdmin('DELETE', `/v1/sites/acme/notice-receivers/${receiverId}`)
  t.equal(await dead(), 1, 'nor can a receiver that is gone')
})

t.test('a count of what is dead never fails a scrape', async t => {
  const { proxy, url } = await proxyPostgres(t, await createDatabase(t))
  await proxy.refuse()
  const registry = new Registry()
  measureDeadDeliveries(registry, openTestDatabase(t, url))
  t.same(await read(registry, 'grantd_notice_deliveries_dead'), {}, 'unknown, not zero')
})

t.test('the key that signs tells its time', async t => {
  const metrics = new Registry()
  const clock = new Clock()
  const grantd = await startApp(t, { metrics, now: clock.now, environment: { KEY_ROTATION_DAYS: '10' } })
  t.equal((await grantd.send('GET', '/health/ready')).status, 200)
  t.same(await read(metrics, 'grantd_signing_key_signs_from_timestamp_seconds'), { '': clock.time / 1_000 })
  t.same(await read(metrics, 'grantd_signing_key_signs_until_timestamp_seconds'), {
    // A day to spare.
    '': (clock.time + 11 * DAY_MS) / 1_000
  })
})

// [HTTP-4]
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
