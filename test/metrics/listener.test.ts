import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import t, { type Test } from 'tap'
import { listenForScrapes, type MetricsListener } from '../../src/metrics/listener.ts'
import { Registry } from '../../src/metrics/registry.ts'
import { freePort } from '../fixtures/app/app.ts'
import { createDatabase } from '../fixtures/app/database.ts'
import { send } from '../fixtures/app/grantd.ts'
import { spawnServer, temporaryFolder, untilReady } from '../fixtures/run/process.ts'

async function listen(t: Test, isReady = async () => true): Promise<{ url: string; listener: MetricsListener }> {
  const port = await freePort()
  const registry = new Registry()
  registry.reading({ name: 'answer', help: 'Answer.' }, () => 42)
  const listener = await listenForScrapes({ host: '127.0.0.1', port }, { read: () => registry.read(), isReady })
  t.teardown(() => listener.close())
  return { url: `http://127.0.0.1:${port}`, listener }
}

t.test('/metrics answers in the Prometheus text format 0.0.4', async t => {
  const { url } = await listen(t)
  const { status, headers, text } = await send('GET', `${url}/metrics?x=1`)
  t.equal(status, 200)
  t.equal(headers['content-type'], 'text/plain; version=0.0.4; charset=utf-8')
  t.equal(headers['x-content-type-options'], 'nosniff')
  t.equal(text, '# HELP answer Answer.\n# TYPE answer gauge\nanswer 42\n')
})

t.test('the metrics port also answers the health checks, and nothing else', async t => {
  let isReady = false
  const { url, listener } = await listen(t, async () => isReady)
  const status = async (method: string, path: string) => (await send(method, url + path)).status
  t.equal(await status('GET', '/health/live'), 200)
  t.equal(await status('GET', '/health/ready'), 503)
  isReady = true
  t.equal(await status('GET', '/health/ready'), 200)
  t.equal(await status('GET', '/oauth/token'), 404)
  t.equal(await status('POST', '/metrics'), 405)
  await listener.close()
  await t.rejects(status('GET', '/metrics'), { code: 'ECONNREFUSED' })
})

t.test('the metrics port refuses headers beyond 8 KiB and closes connections without a request', async t => {
  const { url } = await listen(t)
  const { status } = await send('GET', `${url}/metrics`, { headers: { 'x-long': 'x'.repeat(9_000) } })
  t.equal(status, 431)
  const socket = connect(Number(new URL(url).port), '127.0.0.1')
  socket.write('GET /metrics HTTP/1.1\r\n')
  const began = performance.now()
  socket.resume()
  await once(socket, 'close')
  t.ok(performance.now() - began < 10_000, 'cut off')
})

t.test('metrics are served on their own port only, as long as the service runs', async t => {
  const METRICS_PORT = String(await freePort())
  const server = await spawnServer(t, {
    METRICS_PORT,
    DATABASE_URL: await createDatabase(t),
    DATA_DIR: temporaryFolder(t)
  })
  await untilReady(server)
  const metrics = `http://127.0.0.1:${METRICS_PORT}/metrics`
  const { text } = await send('GET', metrics)
  for (const name of ['grantd_build_info', 'nodejs_eventloop_lag_p99_seconds', 'process_cpu_seconds_total']) {
    t.match(text, new RegExp(`^${name}.* [0-9.e-]+$`, 'm'))
  }
  for (const line of text.trimEnd().split('\n')) {
    t.match(line, /^(# (HELP|TYPE) [a-z_0-9]+ .+|[a-z_0-9]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? [0-9.e+-]+)$/)
  }
  t.equal((await send('GET', `${server.baseUrl}/metrics`)).status, 404)
  server.child.kill('SIGTERM')
  t.equal(await server.exited, 0)
  await t.rejects(send('GET', metrics), { code: 'ECONNREFUSED' })
})

t.test(
  'a METRICS_PORT in use ends the start before the database is touched, and the message says what to do',
  async t => {
    const taken = createServer().listen(0, '127.0.0.1')
    t.teardown(() => taken.close())
    await once(taken, 'listening')
    const { port } = Object(taken.address())
    const server = await spawnServer(t, {
      METRICS_PORT: String(port),
      DATABASE_URL: 'postgresql://grantd@127.0.0.1:1/grantd',
      DATA_DIR: temporaryFolder(t)
    })
    t.equal(await server.exited, 1)
    t.match(server.output(), /does not start: METRICS_PORT: .*in use.*its own METRICS_PORT.*METRICS_PORT=0/)
  }
)

// [HTTP-3]
t.test('METRICS_PORT=0 turns metrics off, and PORT never serves them', async t => {
  const server = await spawnServer(t, { METRICS_PORT: '4000', PORT: '4000' })
  t.equal(await server.exited, 1)
  t.match(server.output(), /METRICS_PORT must differ from PORT/)
})
