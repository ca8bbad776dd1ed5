import t from 'tap'
import { closedLoop } from '../../../bench/generator/load.ts'
import { query } from '../../fixtures/app/database.ts'
import { registerGateway, tokenOf } from '../../fixtures/app/introspection.ts'
import { requestBytes } from '../../fixtures/app/raw-http.ts'
import { startCluster } from '../../fixtures/faults/cluster.ts'
import { startInstance } from '../../fixtures/run/instance.ts'
import { temporaryFolder } from '../../fixtures/run/process.ts'

const INTROSPECTIONS = Number(process.env['INTROSPECTIONS'] ?? 100_000)
const CLIENTS = 50
const CONNECTIONS = 64
/** Transactions of background jobs that may write meanwhile. */
const MAX_OTHER_WRITES = 100

// [FAULT-33]
t.test(
  '100,000 introspections on two instances leave no row and write nothing (issue 15)',
  { timeout: 600_000 },
  async t => {
    const cluster = await startCluster(t)
    const environment = { ISSUER: 'https://grantd.example', LOG_LEVEL: 'error', DATA_DIR: temporaryFolder(t) }
    const instances = [
      await startInstance(t, cluster.url, environment),
      await startInstance(t, cluster.url, environment)
    ] as const
    const ports = instances.map(({ server }) => Number(new URL(server.baseUrl).port))
    const [{ grantd }] = instances
    const gateway = await registerGateway(grantd)
    const credentials = { client_id: gateway.clientId, client_secret: gateway.clientSecret }
    const requests: Buffer[] = []
    for (let client = 0; client < CLIENTS; client++) {
      const token = await tokenOf(grantd, await grantd.register())
      for (const text of [token, `${token}x`]) requests.push(introspectionRequest({ ...credentials, token: text }))
    }
    const before = await stateOf(cluster.url)
    let answers = 0
    const startedAt = performance.now()
    while (answers < INTROSPECTIONS) {
      const load = await closedLoop(ports, requests, { connections: CONNECTIONS, seconds: 5 })
      t.same([...load.statuses.keys()], [200])
      answers += load.answers
    }
    const after = await stateOf(cluster.url)
    t.same(after.rows, before.rows)
    t.ok(after.transactions - before.transactions < MAX_OTHER_WRITES, 'no introspection has written')
    const seconds = ((performance.now() - startedAt) / 1_000).toFixed(0)
    t.comment(`${answers} introspections in ${seconds} s: 0 rows, ${after.transactions - before.transactions} writes`)
  }
)

function introspectionRequest(parameters: Record<string, string>): Buffer {
  const headers = { 'Content-Type': 'application/x-www-form-urlencoded' }
  return requestBytes('/oauth/introspect', headers, Buffer.from(new URLSearchParams(parameters).toString()))
}

/** Counts the rows of all tables, and the transactions that have written. */
async function stateOf(databaseUrl: string): Promise<{ rows: unknown[]; transactions: number }> {
  const rows = await query(
    databaseUrl,
    `select relname, (xpath('/row/count/text()', query_to_xml(format('select count(*) from %I', relname), false, true, '')))[1]::text::int as rows
     from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace order by relname`
  )
  const [{ xid } = { xid: 0 }] = (
    await query(databaseUrl, 'select pg_snapshot_xmax(pg_current_snapshot())::text as xid')
  ).map(Object)
  return { rows, transactions: Number(xid) }
}
