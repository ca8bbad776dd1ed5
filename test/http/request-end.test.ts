import { connect } from 'node:net'
import t from 'tap'
import { createClientSecret } from '../../src/credentials/secret.ts'
import { Registry } from '../../src/metrics/registry.ts'
import { startApp } from '../fixtures/app/app.ts'
import { capturedLog } from '../fixtures/app/log.ts'
import { requestBytes } from '../fixtures/app/raw-http.ts'
import { until } from '../fixtures/run/until.ts'

const FORM = { 'Content-Type': 'application/x-www-form-urlencoded' }

function wrongSecret(clientId: string, secret: string): Buffer {
  const form = new URLSearchParams({ grant_type: 'client_credentials', client_id: clientId, client_secret: secret })
  return requestBytes('/oauth/token', FORM, Buffer.from(form.toString()))
}

t.test('a caller that hangs up before its answer leaves a log line with reason and source', async t => {
  const { log, lines } = capturedLog()
  const grantd = await startApp(t, { log, environment: { TOKEN_FAILURE_LIMIT: '1000' } })
  const { clientId } = await grantd.register()
  const { port } = new URL(grantd.baseUrl)
  const refused = () => lines.map(line => JSON.parse(line)).filter(({ reason }) => reason === 'wrong_secret')
  for (let index = 0; index < 20; index++) {
    const socket = connect(Number(port), '127.0.0.1')
    socket.on('error', () => {})
    socket.write(wrongSecret(clientId, createClientSecret('grantd_')), () => socket.destroy())
  }
  await until('each has its line', () => refused().length === 20)
  for (const line of refused()) t.match(line, { msg: 'request', source: '127.0.0.1', clientId, status: 401 })
  t.ok(
    refused().some(({ hungUp }) => hungUp),
    'some had gone when they were answered'
  )
})

t.test(
  'an administrator that hangs up while being authenticated leaves a log line, and no request in flight',
  async t => {
    const { log, lines } = capturedLog()
    const metrics = new Registry()
    const grantd = await startApp(t, { log, metrics })
    const { port } = new URL(grantd.baseUrl)
    const headers = { 'Content-Type': 'application/json', Authorization: `Bearer ${await grantd.adminToken(['acme'])}` }
    const request = requestBytes('/v1/sites/acme/app-registrations', headers, Buffer.from('{"name":"x"}'))
    const CALLERS = 40
    for (let index = 0; index < CALLERS; index++) {
      const socket = connect(Number(port), '127.0.0.1')
      socket.on('error', () => {})
      socket.write(request, () => socket.destroy())
    }
    const ended = () => lines.filter(line => line.includes('"route":"/v1/sites/:siteId/app-registrations"')).length
    await until('each has its line', () => ended() === CALLERS)
    const families = await metrics.read()
    const inFlight = families.find(({ name }) => name === 'grantd_http_requests_in_flight')
    t.match(inFlight, { samples: { '': 0 } })
  }
)

t.test('a caller that resets its connection at once makes no error line', async t => {
  const { log, lines } = capturedLog()
  const grantd = await startApp(t, { log })
  const { port } = new URL(grantd.baseUrl)
  for (let index = 0; index < 200; index++) {
    const socket = connect(Number(port), '127.0.0.1')
    socket.on('error', () => {})
    socket.on('connect', () => {
      socket.write(wrongSecret('0'.repeat(20), 'x'))
      socket.resetAndDestroy()
    })
    await new Promise(resolve => socket.on('close', resolve))
  }
  await grantd.send('GET', '/health/live')
  await until('a line is written after them', () => lines.some(line => line.includes('/health/live')))
  t.same(
    lines.filter(line => !line.startsWith('{"level":"info"')),
    []
  )
})
