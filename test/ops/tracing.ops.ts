import { readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import path from 'node:path'
import t, { type Test } from 'tap'
import { createDatabase } from '../fixtures/app/database.ts'
import { portOf } from '../fixtures/peers/webhook-receiver.ts'
import { startInstance } from '../fixtures/run/instance.ts'
import { installPackages } from '../fixtures/run/packages.ts'
import { ROOT } from '../fixtures/run/paths.ts'
import { until } from '../fixtures/run/until.ts'

const PAGE = path.join(ROOT, 'docs/operate.md')
/** Not below test/, where the tests of the packages' own dependencies would be found. */
const FOLDER = path.join(ROOT, 'node_modules/.cache/tracing')

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'
const PARENT = '00f067aa0ba902b7'
const CANARY = 'canary0123456789'

interface Span {
  traceId: string
  parentSpanId: string
  name: string
  /** 2 for a server. */
  kind: number
  attributes: { key: string; value: Record<string, unknown> }[]
}

t.test(
  '@fastify/otel, preloaded as docs/operate.md shows, sends a span for each request, without a secret',
  async t => {
    const { endpoint, spans, bodies } = await startCollector(t)
    const { grantd, server } = await startInstance(t, await createDatabase(t), {
      NODE_OPTIONS: `--import ${preload()}`,
      OTEL_SERVICE_NAME: 'grantd',
      OTEL_EXPORTER_OTLP_ENDPOINT: endpoint,
      OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
      OTEL_BSP_SCHEDULE_DELAY: '100'
    })
    const client = await grantd.register()
    const traceparent = `00-${TRACE}-${PARENT}-01`
    const answer = await grantd.requestToken(
      { client_id: client.clientId, client_secret: client.clientSecret },
      { traceparent }
    )
    t.equal(answer.status, 200)
    await grantd.send('GET', `/calendar/${CANARY}.ics`)
    await grantd.send('POST', `/oauth/token?client_secret=${CANARY}`)
    await grantd.send('GET', `/${CANARY}`)

    await until(
      'all spans arrive',
      () => spans.some(({ name }) => name.startsWith('GET /calendar')) && spans.length >= 5
    )
    // The spans of a hook and of the handler are below that of the request, and may arrive before it.
    const isOfRequest = ({ traceId, parentSpanId }: Span) => traceId === TRACE && parentSpanId === PARENT
    await until('the span of the request arrives', () => spans.some(isOfRequest))
    const span = spans.find(isOfRequest)
    t.match(span, { name: 'POST /oauth/token', kind: 2 })
    const attributes = Object.fromEntries(
      (span?.attributes ?? []).map(({ key, value }) => [key, Object.values(value)[0]])
    )
    t.match(attributes, { 'http.request.method': 'POST', 'http.route': '/oauth/token', 'url.path': '/oauth/token' })
    t.equal(Number(attributes['http.response.status_code']), 200)
    t.match(bodies.join(''), '"stringValue":"grantd"')
    for (const secret of [client.clientSecret, CANARY]) t.notMatch(bodies.join(''), secret)
    // The line of the log and the span have the trace in common.
    await until('the request is logged', () => server.output().includes(`"traceparent":"${traceparent}"`))

    server.child.kill('SIGTERM')
    t.equal(await server.exited, 0)
  }
)

/** A receiver of OTLP over HTTP, as JSON. */
async function startCollector(t: Test): Promise<{ endpoint: string; spans: Span[]; bodies: string[] }> {
  const spans: Span[] = []
  const bodies: string[] = []
  const server = createServer(async (request, response) => {
    let body = ''
    for await (const chunk of request) body += chunk
    bodies.push(body)
    for (const { scopeSpans } of JSON.parse(body).resourceSpans ?? []) {
      for (const scope of scopeSpans) spans.push(...scope.spans)
    }
    response.writeHead(200, { 'content-type': 'application/json' }).end('{}')
  })
  const { promise, resolve } = Promise.withResolvers<void>()
  server.listen(0, '127.0.0.1', resolve)
  await promise
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  return { endpoint: `http://127.0.0.1:${portOf(server.address())}`, spans, bodies }
}

/** Installs the packages, and writes the file of the page beside them. @returns its path */
function preload(): string {
  installPackages(path.join(import.meta.dirname, 'tracing'), FOLDER)
  const [, code] = /```js\n([^`]*@fastify\/otel[^`]*(?:`[^`]+`[^`]*)*)```/.exec(readFileSync(PAGE, 'utf8')) ?? []
  if (code === undefined) throw new Error(`${PAGE} has no file to preload`)
  const file = path.join(FOLDER, 'tracing.mjs')
  writeFileSync(file, code)
  return file
}
