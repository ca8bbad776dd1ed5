import t from 'tap'
import { Registry } from '../../src/metrics/registry.ts'
import { measureDeadDeliveries } from '../../src/notifications/metrics.ts'
import { Clock, startApp } from '../fixtures/app/app.ts'
import { createDatabase, openTestDatabase } from '../fixtures/app/database.ts'
import { readMetric } from '../fixtures/app/metrics.ts'
import { DAY_MS } from '../fixtures/app/registration.ts'
import { proxyPostgres } from '../fixtures/faults/tcp-proxy.ts'
import { startWebhookReceiver } from '../fixtures/peers/webhook-receiver.ts'
import { until } from '../fixtures/run/until.ts'

t.test('attempts to deliver a notice are counted, and dead deliveries as long as they can be retried', async t => {
  const clock = new Clock()
  const receiver = await startWebhookReceiver(t, response => response.writeHead(410).end())
  const metrics = new Registry()
  const grantd = await startApp(t, {
    metrics,
    now: clock.now,
    environment: { NOTICE_WEBHOOK_ALLOW: '127.0.0.1' },
    noticeIntervalSeconds: 0.1
  })
  t.same(await readMetric(metrics, 'grantd_notice_deliveries_total'), {
    '{outcome="delivered"}': 0,
    '{outcome="failed"}': 0,
    '{outcome="dead"}': 0
  })
  const dead = async () => {
    const fresh = new Registry()
    measureDeadDeliveries(fresh, openTestDatabase(t, grantd.databaseUrl))
    return (await readMetric(fresh, 'grantd_notice_deliveries_dead'))?.['']
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
    async () => (await readMetric(metrics, 'grantd_notice_deliveries_total'))?.['{outcome="dead"}'] === 4
  )
  t.equal(await dead(), 4)
  const later = new Date(clock.time + 300 * DAY_MS).toISOString()
  await grantd.asAdmin('PATCH', renewed.path, { body: { expiresAt: later } })
  t.equal(await dead(), 2, 'nobody need be told of an expiry that was moved')
  const [{ receiverId }] = (await grantd.asAdmin('GET', '/v1/sites/acme/notice-receivers')).json().items
  await grantd.asAdmin('DELETE', `/v1/sites/acme/notice-receivers/${receiverId}`)
  t.equal(await dead(), 1, 'nor can a receiver that is gone')
})

t.test('a count of dead deliveries that fails does not fail the scrape', async t => {
  const { proxy, url } = await proxyPostgres(t, await createDatabase(t))
  await proxy.refuse()
  const registry = new Registry()
  measureDeadDeliveries(registry, openTestDatabase(t, url))
  t.same(await readMetric(registry, 'grantd_notice_deliveries_dead'), {}, 'unknown, not zero')
})
