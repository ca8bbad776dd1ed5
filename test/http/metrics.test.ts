import { Agent, request } from 'node:http'
import { connect } from 'node:net'
import t, { type Test } from 'tap'
import { createClientSecret } from '../../src/credentials/secret.ts'
import { expose, Registry } from '../../src/metrics/registry.ts'
import { REFUSAL_REASONS } from '../../src/oauth/oauth-error.ts'
import { startApp } from '../fixtures/app/app.ts'
import { basic } from '../fixtures/app/grantd.ts'
import { until } from '../fixtures/run/until.ts'

async function startMeasured(t: Test) {
  const metrics = new Registry()
  const grantd = await startApp(t, { metrics, environment: { TOKEN_FAILURE_LIMIT: '2' } })
  const text = async () => expose(await metrics.read())
  const value = async (series: string) => {
    const line = (await text()).split('\n').find(candidate => candidate.startsWith(`${series} `))
    return line === undefined ? undefined : Number(line.slice(series.length))
  }
  return { grantd, text, value, outcome: (name: string) => value(`grantd_token_requests_total{outcome="${name}"}`) }
}

t.test('token requests are counted by outcome', async t => {
  const { grantd, value, outcome } = await startMeasured(t)
  const { clientId, clientSecret, path } = await grantd.register({ scopes: ['a'] })
  const credentials = { client_id: clientId, client_secret: clientSecret }
  t.equal((await grantd.requestToken(credentials)).status, 200)
  t.equal((await grantd.requestToken({ ...credentials, scope: 'b' })).status, 400)
  const wrong = { ...credentials, client_secret: createClientSecret('grantd_') }
  for (let time = 0; time < 2; time++) await grantd.requestToken(wrong)
  t.equal((await grantd.requestToken(wrong)).status, 429)
  await grantd.requestToken({ client_id: '0'.repeat(20), client_secret: createClientSecret('grantd_') })
  await grantd.requestToken({ client_id: '1'.repeat(20), client_secret: 'x' })
  await grantd.requestToken({}, { authorization: 'Basic ?' })
  await grantd.send('PUT', '/oauth/token')
  await grantd.asAdmin('PATCH', path, { body: { enabled: false } })
  await grantd.requestToken(credentials)
  const expected = {
    issued: 1,
    scope_not_allowed: 1,
    wrong_secret: 2,
    too_many_failures: 1,
    unknown_client: 1,
    malformed_secret: 1,
    malformed_basic: 1,
    method: 1,
    disabled: 1
  }
  await until('the last is counted', async () => (await outcome('disabled')) === 1)
  const counted = Object.fromEntries(
    await Promise.all(['issued', 'aborted', ...REFUSAL_REASONS].map(async name => [name, await outcome(name)]))
  )
  t.same(Object.fromEntries(Object.entries(counted).filter(([, count]) => count !== 0)), expected)
  t.equal(await value('grantd_exchange_duration_seconds_count'), 1)
})

t.test('admin requests are counted by route and class of status', async t => {
  const { grantd, value } = await startMeasured(t)
  const { path } = await grantd.register()
  await grantd.asAdmin('GET', path)
  await grantd.asAdmin('GET', path, { sites: ['other'] })
  await grantd.send('GET', path)
  const one = 'route="/v1/sites/:siteId/app-registrations/:clientId"'
  await until(
    'all are counted',
    async () => (await value(`grantd_admin_requests_total{method="GET",${one},status="4xx"}`)) === 2
  )
  t.equal(await value(`grantd_admin_requests_total{method="GET",${one},status="2xx"}`), 1)
  t.equal(
    await value('grantd_admin_requests_total{method="POST",route="/v1/sites/:siteId/app-registrations",status="2xx"}'),
    1
  )
})

t.test('no request adds a series, and none of them holds input, a client or a Site', async t => {
  const { grantd, text } = await startMeasured(t)
  const { clientId, clientSecret } = await grantd.register({}, 'umbrella')
  const send = async (mark: string) => {
    for (const path of [`/${mark}`, `/v1/${mark}`, `/oauth/token/${mark}`, `/v1/sites/${mark}/app-registrations`]) {
      await grantd.asAdmin('GET', path)
      await grantd.asAdmin('POST', path, { body: { [mark]: mark } })
    }
    await grantd.requestToken({ client_id: clientId, client_secret: clientSecret, scope: mark })
    await grantd.requestToken({ client_id: mark, client_secret: mark, grant_type: mark })
    await grantd.send('POST', '/oauth/token', { headers: { authorization: basic(mark, mark) } })
    await grantd.exchange({ clientId, clientSecret })
  }
  const seriesOf = (exposition: string) => exposition.replaceAll(/ \S+$/gm, '')
  await send('canary1')
  await new Promise(setImmediate)
  const first = await text()
  for (let index = 2; index < 20; index++) await send(`canary${index}`)
  await new Promise(setImmediate)
  const last = await text()
  t.equal(seriesOf(last), seriesOf(first))
  for (const held of ['canary', clientId, clientSecret, 'umbrella']) t.notMatch(last, held)
})

t.test('a caller that hangs up no longer counts as in flight', async t => {
  const { grantd, value, outcome } = await startMeasured(t)
  const { port } = new URL(grantd.baseUrl)
  const socket = connect(Number(port), '127.0.0.1')
  socket.write(
    'POST /oauth/token HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\ngrant'
  )
  await until('it is in flight', async () => (await value('grantd_http_requests_in_flight')) === 1)
  socket.destroy()
  await until('it is not', async () => (await value('grantd_http_requests_in_flight')) === 0)
  t.equal(await outcome('aborted'), 1)
})

t.test('each request on a connection that is kept alive counts once', async t => {
  const { grantd, value } = await startMeasured(t)
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  for (let time = 0; time < 3; time++) {
    const { promise, resolve } = Promise.withResolvers<void>()
    request(`${grantd.baseUrl}/v1/app-registrations`, { agent }, response => response.resume().on('end', resolve)).end()
    await promise
  }
  agent.destroy()
  await until(
    'all are counted',
    async () =>
      (await value('grantd_admin_requests_total{method="GET",route="/v1/app-registrations",status="4xx"}')) === 3
  )
  t.equal(await value('grantd_http_requests_in_flight'), 0)
})
