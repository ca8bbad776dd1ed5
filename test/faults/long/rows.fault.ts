import { randomUUID } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { closedLoop } from '../../../bench/generator/load.ts'
import {
  ASSERTION_TYPE,
  claimsOf,
  type KeyClient,
  makeClientKey,
  registerKeyClient,
  signAssertion
} from '../../fixtures/app/assertion.ts'
import { query } from '../../fixtures/app/database.ts'
import { requestBytes } from '../../fixtures/app/raw-http.ts'
import { registerWorkload, SUBJECT } from '../../fixtures/app/workload.ts'
import { startCluster } from '../../fixtures/faults/cluster.ts'
import { IdentityProvider, makeKey } from '../../fixtures/peers/identity-provider.ts'
import { startInstance } from '../../fixtures/run/instance.ts'
import { temporaryFolder } from '../../fixtures/run/process.ts'

/** Of each kind of credential. */
const EXCHANGES = Number(process.env['EXCHANGES'] ?? 100_000)
/** Of each kind. Each one makes fewer exchanges than the 1,024 assertions that may be in use at once. */
const CLIENTS = 200
const CONNECTIONS = 64
/** Requests that are made before they are sent. */
const PORTION = 5_000
const ISSUER = 'https://grantd.example'

/** Parameters of the next exchange by a client. */
type Present = (client: number) => Promise<Record<string, string>>

t.test(
  'exchanges of each kind of credential leave no row behind but one for each client with a key (issue 13)',
  { timeout: 1_200_000 },
  async t => {
    const cluster = await startCluster(t)
    const folder = temporaryFolder(t)
    const keyFile = path.join(folder, 'platform.jwks.json')
    const platform = new IdentityProvider(9, '')
    const platformKey = await makeKey('ES256', 'platform')
    writeFileSync(keyFile, JSON.stringify({ keys: [platformKey.jwk] }))
    const environment = {
      ...{ ISSUER, LOG_LEVEL: 'error', DATA_DIR: folder },
      FEDERATED_ISSUERS: `${platform.issuer}=${keyFile}`
    }
    const instances = [
      await startInstance(t, cluster.url, environment),
      await startInstance(t, cluster.url, environment)
    ] as const
    const ports = instances.map(({ server }) => Number(new URL(server.baseUrl).port))
    const [{ grantd }] = instances

    const clients = await registerEach(() => grantd.register())
    const key = await makeClientKey()
    const keyClients: KeyClient[] = await registerEach(() => registerKeyClient(grantd, {}, { key }))
    const workloads = await registerEach(() => registerWorkload(grantd, platform.issuer))
    const claims = { sub: SUBJECT, aud: ISSUER, iat: Math.floor(Date.now() / 1_000) }
    const token = await platform.sign(platformKey, claims)

    const kinds: Record<string, Present> = {
      secret: async client => {
        const { clientId = '', clientSecret = '' } = clients[client] ?? {}
        return { client_id: clientId, client_secret: clientSecret }
      },
      key: async client => {
        const signed = claimsOf(keyClients[client]?.clientId ?? '', ISSUER, Date.now(), { jti: randomUUID() })
        return { client_assertion_type: ASSERTION_TYPE, client_assertion: await signAssertion(key, signed) }
      },
      federated: async client => ({
        client_id: workloads[client]?.clientId ?? '',
        ...{ client_assertion_type: ASSERTION_TYPE, client_assertion: token }
      })
    }
    const counted = [await countRows(cluster.url)]
    for (const [kind, present] of Object.entries(kinds)) {
      const startedAt = performance.now()
      t.same(await exchangeMany(ports, present), { 200: EXCHANGES }, `each exchange by ${kind} gets a token`)
      t.comment(`${EXCHANGES} exchanges by ${kind} in ${((performance.now() - startedAt) / 1_000).toFixed(0)} s`)
      counted.push(await countRows(cluster.url))
    }
    const [before = {}, ...after] = counted
    t.comment(`rows before, and after the exchanges by ${Object.keys(kinds).join(', ')}:`)
    for (const [table, rows] of Object.entries(before)) {
      t.comment(`${table}: ${[rows, ...after.map(count => count[table])].join(', ')}`)
    }
    const [bySecret, byKey, byToken] = after
    t.same(bySecret, before, 'by secret')
    t.same(byKey, { ...before, assertion_uses: CLIENTS }, 'by key')
    t.same(byToken, byKey, 'by federated subject')
  }
)

async function registerEach<T>(register: () => Promise<T>): Promise<T[]> {
  const registered: T[] = []
  for (let client = 0; client < CLIENTS; client++) registered.push(await register())
  return registered
}

/** Exchanges for all clients in turn, over these instances. @returns how often each status came */
async function exchangeMany(ports: readonly number[], present: Present): Promise<Record<number, number>> {
  const statuses: Record<number, number> = {}
  for (let sent = 0; sent < EXCHANGES; sent += PORTION) {
    const requests: Buffer[] = []
    for (let next = sent; next < Math.min(sent + PORTION, EXCHANGES); next++) {
      requests.push(tokenRequest(await present(next % CLIENTS)))
    }
    const load = await closedLoop(ports, requests, { connections: CONNECTIONS, seconds: 0 })
    for (const [status, count] of load.statuses) statuses[status] = (statuses[status] ?? 0) + count
  }
  return statuses
}

function tokenRequest(parameters: Record<string, string>): Buffer {
  const form = new URLSearchParams({ grant_type: 'client_credentials', ...parameters })
  const headers = { 'Content-Type': 'application/x-www-form-urlencoded' }
  return requestBytes('/oauth/token', headers, Buffer.from(form.toString()))
}

/** Counts the rows of each table. */
async function countRows(databaseUrl: string): Promise<Record<string, number>> {
  const tables = await query(
    databaseUrl,
    `select relname, (xpath('/row/count/text()', query_to_xml(format('select count(*) from %I', relname), false, true, '')))[1]::text::int as rows
     from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace order by relname`
  )
  return Object.fromEntries(tables.map(Object).map(({ relname, rows }) => [relname, rows]))
}
