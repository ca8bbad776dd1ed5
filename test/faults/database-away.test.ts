import t from 'tap'
import { startApp } from '../fixtures/app/app.ts'
import { createDatabase } from '../fixtures/app/database.ts'
import { proxyPostgres } from '../fixtures/faults/tcp-proxy.ts'
import { until } from '../fixtures/run/until.ts'

t.test(
  'while the database is away warm clients exchange; the rest is 503 at once; all is well when it is back',
  async t => {
    const { proxy, url } = await proxyPostgres(t, await createDatabase(t))
    const grantd = await startApp(t, { databaseUrl: url })
    const [warm, cold] = [await grantd.register(), await grantd.register()]
    t.equal((await grantd.exchange(warm)).status, 200)
    // Not yet written on a busy machine: null then.
    const before = (await grantd.asAdmin('GET', warm.path)).json().lastUsedAt ?? ''

    await proxy.refuse()
    for (let exchange = 0; exchange < 50; exchange++) {
      const answer = await grantd.exchange(warm)
      t.equal(answer.status, 200, answer.text)
    }
    const started = performance.now()
    const refused = await grantd.exchange(cold)
    t.equal(refused.status, 503)
    t.equal(refused.json().error, 'temporarily_unavailable')
    t.equal(refused.headers['retry-after'], '1')
    t.ok(performance.now() - started < 500, 'it does not pile up')
    const admin = await grantd.asAdmin('GET', warm.path)
    t.equal(admin.status, 503)
    t.equal(admin.headers['retry-after'], '1')
    t.equal((await grantd.send('GET', '/health/live')).status, 200)
    t.equal((await grantd.send('GET', '/health/ready')).status, 503)
    t.equal((await grantd.send('GET', '/.well-known/jwks.json')).status, 200)

    await proxy.accept()
    await until('cold clients exchange', async () => (await grantd.exchange(cold)).status === 200, 2_000)
    t.equal((await grantd.send('GET', '/health/ready')).status, 200)
    await until('Last used is written', async () => {
      const { lastUsedAt } = (await grantd.asAdmin('GET', warm.path)).json()
      return lastUsedAt > before
    })
  }
)

t.test('with STALE_CREDENTIALS_SECONDS=0 nobody is served from memory', async t => {
  const { proxy, url } = await proxyPostgres(t, await createDatabase(t))
  const grantd = await startApp(t, { databaseUrl: url, environment: { STALE_CREDENTIALS_SECONDS: '0' } })
  const registration = await grantd.register()
  t.equal((await grantd.exchange(registration)).status, 200)
  await proxy.refuse()
  t.equal((await grantd.exchange(registration)).status, 503)
})

// [FAULT-27]
t.test('what was known of a disabled client is refused, also from memory', async t => {
  const { proxy, url } = await proxyPostgres(t, await createDatabase(t))
  const grantd = await startApp(t, { databaseUrl: url })
  const registration = await grantd.register()
  t.equal((await grantd.exchange(registration)).status, 200)
  await grantd.asAdmin('PATCH', registration.path, { body: { enabled: false } })
  t.equal((await grantd.exchange(registration)).status, 401)
  await proxy.refuse()
  t.not((await grantd.exchange(registration)).status, 200)
})
