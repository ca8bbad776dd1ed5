import t from 'tap'
import { Registry } from '../../src/metrics/registry.ts'
import { Clock, startApp } from '../fixtures/app/app.ts'
import { readMetric } from '../fixtures/app/metrics.ts'
import { DAY_MS } from '../fixtures/app/registration.ts'

t.test('the period of the current signing key is a metric', async t => {
  const metrics = new Registry()
  const clock = new Clock()
  const grantd = await startApp(t, { metrics, now: clock.now, environment: { KEY_ROTATION_DAYS: '10' } })
  t.equal((await grantd.send('GET', '/health/ready')).status, 200)
  t.same(await readMetric(metrics, 'grantd_signing_key_signs_from_timestamp_seconds'), { '': clock.time / 1_000 })
  t.same(await readMetric(metrics, 'grantd_signing_key_signs_until_timestamp_seconds'), {
    // A day to spare.
    '': (clock.time + 11 * DAY_MS) / 1_000
  })
  t.same(await readMetric(metrics, 'grantd_signing_key_successor_due_timestamp_seconds'), {
    '': (clock.time + 10 * DAY_MS) / 1_000
  })
})

t.test('no successor is due while KEY_ROTATION_DAYS is 0', async t => {
  const metrics = new Registry()
  await startApp(t, { metrics, environment: { KEY_ROTATION_DAYS: '0' } })
  t.same(await readMetric(metrics, 'grantd_signing_key_successor_due_timestamp_seconds'), {})
})
