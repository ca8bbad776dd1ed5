import { Writable } from 'node:stream'
import { pino } from 'pino'
import t from 'tap'
import { Registry } from '../../src/metrics/registry.ts'
import { startApp } from '../fixtures/app/app.ts'
import { createDatabase } from '../fixtures/app/database.ts'
import { readMetric } from '../fixtures/app/metrics.ts'
import { proxyPostgres } from '../fixtures/faults/tcp-proxy.ts'
import { until } from '../fixtures/run/until.ts'

// [HTTP-4]
t.test('the loss of the database and its return each show in a metric and in one log line', async t => {
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
  t.same(await readMetric(metrics, 'grantd_database_away'), { '': 0 })

  await proxy.refuse()
  for (let time = 0; time < 3; time++) t.equal((await grantd.exchange(registration)).status, 200)
  t.same(await readMetric(metrics, 'grantd_database_away'), { '': 1 })
  t.same(await readMetric(metrics, 'grantd_stale_credentials_served_total'), { '': 3 })
  t.equal(about('the database is unavailable'), 1)
  await until(
    'writing Last used has failed',
    async () => ((await readMetric(metrics, 'grantd_last_used_write_failures_total'))?.[''] ?? 0) > 0
  )
  t.same(
    await readMetric(metrics, 'grantd_last_used_waiting'),
    { '': 2 },
    'one in the batch that fails, one that gathers'
  )
  t.equal(about('the database is available again'), 0)

  await proxy.accept()
  await until('it is back', async () => {
    await grantd.exchange(registration)
    return (await readMetric(metrics, 'grantd_database_away'))?.[''] === 0
  })
  t.equal(about('the database is available again'), 1)
  t.equal(about('the database is unavailable'), 1)
  await until('Last used is written', async () => (await readMetric(metrics, 'grantd_last_used_waiting'))?.[''] === 0)
})
