import t from 'tap'
import { createClientSecret } from '../../src/credentials/secret.ts'
import { startApp } from '../fixtures/app/app.ts'
import { createDatabase, query } from '../fixtures/app/database.ts'
import { proxyPostgres } from '../fixtures/faults/tcp-proxy.ts'
import { until } from '../fixtures/run/until.ts'

t.test(
  'while the database is away, warm clients exchange and other requests get 503 at once. When it is back, all is normal',
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

t.test('with STALE_CREDENTIALS_SECONDS=0 no client is served from the cache', async t => {
  const { proxy, url } = await proxyPostgres(t, await createDatabase(t))
  const grantd = await startApp(t, { databaseUrl: url, environment: { STALE_CREDENTIALS_SECONDS: '0' } })
  const registration = await grantd.register()
  t.equal((await grantd.exchange(registration)).status, 200)
  await proxy.refuse()
  t.equal((await grantd.exchange(registration)).status, 503)
})

// [FAULT-27]
t.test('a client that is known to be disabled is refused, also from the cache', async t => {
  const { proxy, url } = await proxyPostgres(t, await createDatabase(t))
  const grantd = await startApp(t, { databaseUrl: url })
  const registration = await grantd.register()
  t.equal((await grantd.exchange(registration)).status, 200)
  await grantd.asAdmin('PATCH', registration.path, { body: { enabled: false } })
  t.equal((await grantd.exchange(registration)).status, 401)
  await proxy.refuse()
  t.not((await grantd.exchange(registration)).status, 200)
})

// [TOKEN-17]
t.test('while the database is away, a wrong secret does not reveal which clients are cached', async t => {
  const { proxy, url } = await proxyPostgres(t, await createDatabase(t))
  const grantd = await startApp(t, { databaseUrl: url })
  const [warm, cold] = [await grantd.register(), await grantd.register()]
  t.equal((await grantd.exchange(warm)).status, 200)
  await proxy.refuse()
  t.equal((await grantd.exchange(warm)).status, 200)
  const answers = []
  for (const clientId of [warm.clientId, cold.clientId, '0'.repeat(20)]) {
    const { status, headers, text } = await grantd.exchange({ clientId, clientSecret: createClientSecret('grantd_') })
    answers.push({ status, text, names: Object.keys(headers) })
  }
  t.equal(answers[0]?.status, 503)
  for (const answer of answers) t.same(answer, answers[0])
  await proxy.accept()
})

t.test('a change by this process counts at once, also when the database is lost right after it', async t => {
  for (const change of ['disable', 'delete', 'rotate'] as const) {
    const { proxy, url } = await proxyPostgres(t, await createDatabase(t))
    const grantd = await startApp(t, { databaseUrl: url })
    const client = await grantd.register()
    t.equal((await grantd.exchange(client)).status, 200)
    const answer =
      change === 'disable'
        ? await grantd.asAdmin('PATCH', client.path, { body: { enabled: false } })
        : change === 'delete'
          ? await grantd.asAdmin('DELETE', client.path)
          : await grantd.asAdmin('POST', `${client.path}/rotate-secret`, { body: { overlapSeconds: 0 } })
    t.ok(answer.status < 300, answer.text)
    await proxy.refuse()
    t.equal((await grantd.exchange(client)).status, 503, change)
  }
})

// [FAULT-36]
t.test('a row of a commit that the database has lost is not trusted when its version number comes again', async t => {
  const directUrl = await createDatabase(t)
  const { proxy, url } = await proxyPostgres(t, directUrl)
  const grantd = await startApp(t, { databaseUrl: url })
  const [registration, other] = [await grantd.register({ scopes: ['old'] }), await grantd.register()]
  // As another instance does. This one learns of it by the version only.
  const change = (version: number, members: string) =>
    query(directUrl, `update registrations set ${members}, version = ${version} where client_id = $1`, [
      registration.clientId
    ])
  await change(2, `scopes = '{lost}'`)
  t.equal((await grantd.exchange(registration)).json().scope, 'lost')
  await proxy.refuse()
  t.equal((await grantd.exchange(registration)).json().scope, 'lost', 'it stands in while the database is away')
  // A failover or a restore loses the commit, and the next change gets its number.
  await change(1, `scopes = '{old}'`)
  await change(2, 'enabled = false')
  await proxy.accept()
  await until('clients are looked up', async () => (await grantd.exchange(other)).status === 200, 2_000)
  t.equal((await grantd.exchange(registration)).status, 401)
})
