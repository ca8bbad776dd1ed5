import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import t, { type Test } from 'tap'
import { createClientSecret } from '../../src/credentials/secret.ts'
import { type DrawnPanel, PANELS_FILE } from '../../tools/dashboard.ts'
import { freePort } from '../fixtures/app/app.ts'
import { createDatabase, query } from '../fixtures/app/database.ts'
import { requestBytes, sendPipelined } from '../fixtures/app/raw-http.ts'
import { inDays } from '../fixtures/app/registration.ts'
import { leftOutFor } from '../fixtures/faults/debian.ts'
import { proxyPostgres, type TcpProxy } from '../fixtures/faults/tcp-proxy.ts'
import { type Client, Traffic } from '../fixtures/faults/traffic.ts'
import { startWebhookReceiver } from '../fixtures/peers/webhook-receiver.ts'
import { type Instance, startInstance } from '../fixtures/run/instance.ts'
import { temporaryFolder } from '../fixtures/run/process.ts'
import { until } from '../fixtures/run/until.ts'
import { PROMETHEUS, type Prometheus, startPrometheus } from './prometheus.ts'
import { alerts, asGrafanaSends, panels, recordings } from './rules.ts'

/** Grafana takes four times the scrape interval at least. */
const RATE_INTERVAL = '5s'
/** Exchanges of clients that go on all the time. */
const PER_SECOND = 50
const PIPELINED = 50
/** More than ten a second over the ten minutes that the alert looks at, and more than 1 MiB of log. */
const COLD_REQUESTS = 8_000
const TIMEOUT_MS = 60_000
/** Two seconds. */
const SOON_DAYS = 2 / 86_400

t.test(
  'every expression of the alert rules and of the dashboard returns data from a service to which all of this happens',
  { skip: leftOutFor(PROMETHEUS), timeout: 300_000 },
  async t => {
    const service = await startService(t)
    const prometheus = await startPrometheus(t, [service.metrics, `127.0.0.1:${await freePort()}`])
    const from = Date.now() / 1_000
    const isFiring = async ({ expr }: { expr: string }) => (await prometheus.query(expr)).length > 0
    await until('a first scrape', async () => (await prometheus.query('grantd_build_info')).length > 0)

    const traffic = new Traffic([service.baseUrl], service.clients, { connections: 4, perSecond: PER_SECOND })
    for (const trouble of [hashInVain, failToDeliver, failToAuthenticate, overrunCacheAndLog, loseDatabase]) {
      await calm(traffic)
      await trouble(t, service, prometheus)
    }
    for (const alert of alerts.filter(({ alert }) => alert !== 'GrantdDatabaseAway')) {
      await until(`${alert.alert} has data`, () => isFiring(alert), TIMEOUT_MS)
    }
    await calm(traffic)
    await traffic.stop()
    t.same(traffic.failures, [], 'clients get tokens all the time')

    const to = Date.now() / 1_000
    for (const { record } of recordings) t.ok(hasNumbers(await prometheus.query(record)), record)
    const drawn: DrawnPanel[] = []
    for (const { title, fieldConfig, targets } of panels) {
      const lines = []
      for (const { expr, legendFormat } of targets) {
        const series = await prometheus.queryRange(asGrafanaSends(expr, RATE_INTERVAL), from, to)
        t.ok(hasNumbers(series), `${title}: ${expr}`)
        lines.push(...series.map(({ metric, values }) => ({ name: labelled(legendFormat, metric), values })))
      }
      drawn.push({ title, unit: fieldConfig.defaults.unit, lines })
    }
    mkdirSync(path.dirname(PANELS_FILE), { recursive: true })
    writeFileSync(PANELS_FILE, JSON.stringify(drawn))
  }
)

interface Service extends Instance {
  baseUrl: string
  /** Address of its metrics. */
  metrics: string
  databaseUrl: string
  proxy: TcpProxy
  clients: Client[]
  /** Registered before KEY_ENCRYPTION_KEY was lost. */
  old: Client
}

/** Starts a service whose signing key should have a successor, and whose MAC key cannot be decrypted. */
async function startService(t: Test): Promise<Service> {
  const databaseUrl = await createDatabase(t)
  const DATA_DIR = temporaryFolder(t)
  const before = await startInstance(t, databaseUrl, { DATA_DIR })
  const old = await before.grantd.register()
  await before.grantd.close()
  await query(databaseUrl, "update mac_keys set encrypted_key = regexp_replace(encrypted_key, '[^.]+$', 'AAAA')")
  await query(databaseUrl, "update signing_keys set signs_from = signs_from - interval '100 days', signs_until = now()")

  const { proxy, url } = await proxyPostgres(t, databaseUrl)
  const METRICS_PORT = String(await freePort())
  const environment = {
    DATA_DIR,
    METRICS_PORT,
    NOTICE_WEBHOOK_ALLOW: '127.0.0.1',
    NOTICE_INTERVAL_SECONDS: '1'
  }
  const instance = await startInstance(t, url, environment)
  const clients: Client[] = []
  for (let made = 0; made < 20; made++) clients.push(await instance.grantd.register())
  const { baseUrl } = instance.server
  return { ...instance, baseUrl, metrics: `127.0.0.1:${METRICS_PORT}`, databaseUrl, proxy, clients, old }
}

/** More secrets wait for Argon2 than may wait, because the key of their MACs was lost. */
async function hashInVain(t: Test, { grantd, old }: Service): Promise<void> {
  const guesses = Array.from({ length: 300 }, (_, index) => ({
    clientId: String(index).padStart(20, '0'),
    clientSecret: createClientSecret('grantd_')
  }))
  const answers = await Promise.all(guesses.map(guess => grantd.exchange(guess)))
  t.ok(answers.some(({ status }) => status === 503))
  t.equal((await grantd.exchange(old)).status, 200)
}

/** The notice of a registration that expires, to a receiver that takes it and to two that are gone. Others expire soon. */
async function failToDeliver(t: Test, { grantd }: Service): Promise<void> {
  const takes = await startWebhookReceiver(t)
  const isGone = await startWebhookReceiver(t, response => response.writeHead(410).end())
  for (const url of [takes.url, `${isGone.url}/1`, `${isGone.url}/2`]) {
    const { status } = await grantd.asAdmin('POST', '/v1/sites/acme/notice-receivers', {
      body: { kind: 'webhook', url }
    })
    t.equal(status, 201)
  }
  for (const days of [20, 5, SOON_DAYS]) await grantd.register({ expiresAt: inDays(days) })
  await until('notices arrive', () => takes.received.length > 0 && isGone.received.length > 1)
}

/** One source sends so many malformed secrets that it gets 429. */
async function failToAuthenticate(_t: Test, { baseUrl, clients: [client] }: Service): Promise<void> {
  await sendMany(baseUrl, 1_000, { client_id: client?.clientId ?? '', client_secret: 'wrong' })
}

/** Requests for a scope that is not allowed need a look-up, and nobody reads their log lines. */
async function overrunCacheAndLog(_t: Test, { baseUrl, server, clients: [client] }: Service): Promise<void> {
  const { clientId = '', clientSecret = '' } = client ?? {}
  server.child.stdout?.pause()
  await sendMany(baseUrl, COLD_REQUESTS, { client_id: clientId, client_secret: clientSecret, scope: 'none' })
  server.child.stdout?.resume()
}

/** Postgres goes away until the alert has data. Clients that have not exchanged, and administrators, get 503. */
async function loseDatabase(_t: Test, { grantd, baseUrl, proxy }: Service, prometheus: Prometheus): Promise<void> {
  const cold = await grantd.register()
  const [away] = alerts.filter(({ alert }) => alert === 'GrantdDatabaseAway')
  await proxy.refuse()
  for (let refused = 0; refused < 3; refused++) await grantd.asAdmin('GET', cold.path)
  await until(
    'Postgres is away',
    async () => {
      await sendMany(baseUrl, 2 * PIPELINED, { client_id: cold.clientId, client_secret: cold.clientSecret })
      return (await prometheus.query(away?.expr ?? '')).length > 0
    },
    TIMEOUT_MS
  )
  // A second answer of that kind, so that there is a rate.
  await grantd.asAdmin('GET', cold.path)
  await proxy.accept()
  await until('Postgres is back', async () => (await grantd.exchange(cold)).status === 200, TIMEOUT_MS)
}

/** Lets nothing but the exchanges of the clients happen for four seconds. */
async function calm(traffic: Traffic): Promise<void> {
  const before = traffic.count(200)
  await until('clients get tokens', () => traffic.count(200) > before + 4 * PER_SECOND)
}

async function sendMany(baseUrl: string, count: number, parameters: Record<string, string>): Promise<void> {
  const body = new URLSearchParams({ grant_type: 'client_credentials', ...parameters }).toString()
  const headers = { 'Content-Type': 'application/x-www-form-urlencoded' }
  const bytes = requestBytes('/oauth/token', headers, Buffer.from(body))
  for (let sent = 0; sent < count; sent += PIPELINED) await sendPipelined(baseUrl, bytes, PIPELINED)
}

function hasNumbers(series: readonly { values: [number, string][] }[]): boolean {
  return series.some(({ values }) => values.some(([, value]) => Number.isFinite(Number(value))))
}

/** Returns the name of a series, as Grafana makes it. */
function labelled(format: string, labels: Record<string, string>): string {
  return format.replaceAll(/\{\{(\w+)\}\}/g, (_, label: string) => labels[label] ?? '')
}
