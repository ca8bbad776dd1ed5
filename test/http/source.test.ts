import t from 'tap'
import { startApp } from '../fixtures/app/app.ts'
import { capturedLog } from '../fixtures/app/log.ts'
import { until } from '../fixtures/run/until.ts'

/** Takes the line of the latest request out of the log. */
async function loggedSource(lines: string[]): Promise<string> {
  const isRequest = (line: string) => line.includes('"msg":"request"')
  await until('it is logged', () => lines.some(isRequest))
  return JSON.parse(lines.splice(0).find(isRequest) ?? '').source
}

t.test('X-Forwarded-For is read with ports and brackets, as gateways write it', async t => {
  const { log, lines } = capturedLog()
  const grantd = await startApp(t, { log, environment: { TRUSTED_PROXIES: '127.0.0.1,10.0.0.0/8' } })
  for (const [forwardedFor, source] of [
    ['198.51.100.7', '198.51.100.7'],
    ['198.51.100.7:50123', '198.51.100.7'],
    ['[2001:db8::7]:443', '2001:db8::7'],
    ['[2001:db8::7]', '2001:db8::7'],
    ['2001:db8::7', '2001:db8::7'],
    ['203.0.113.9, 198.51.100.7:50123, 10.1.2.3:80', '198.51.100.7'],
    ['::ffff:198.51.100.7', '198.51.100.7']
  ] as const) {
    await grantd.send('GET', '/health/live', { headers: { 'x-forwarded-for': forwardedFor } })
    t.equal(await loggedSource(lines), source, forwardedFor)
  }
})

t.test('an X-Forwarded-For that is no address, or that comes from another caller, does not count', async t => {
  const { log, lines } = capturedLog()
  const behind = await startApp(t, { log, environment: { TRUSTED_PROXIES: '127.0.0.1' } })
  for (const forwardedFor of ['unknown', '<script>', '1.2.3.4:80:90', '[1.2.3.4', ' , ']) {
    await behind.send('GET', '/health/live', { headers: { 'x-forwarded-for': forwardedFor } })
    t.equal(await loggedSource(lines), '127.0.0.1', forwardedFor)
  }
  const direct = await startApp(t, { log, environment: { TRUSTED_PROXIES: '10.0.0.1' } })
  await direct.send('GET', '/health/live', { headers: { 'x-forwarded-for': '198.51.100.7' } })
  t.equal(await loggedSource(lines), '127.0.0.1')
})
