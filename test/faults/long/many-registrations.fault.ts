import t from 'tap'
import { closedLoop } from '../../../bench/generator/load.ts'
import { query, withClient } from '../../fixtures/app/database.ts'
import type { Grantd } from '../../fixtures/app/grantd.ts'
import { requestBytes } from '../../fixtures/app/raw-http.ts'
import { DAY_MS } from '../../fixtures/app/registration.ts'
import { type PostgresCluster, startCluster } from '../../fixtures/faults/cluster.ts'
import type { Client } from '../../fixtures/faults/traffic.ts'
import { startInstance, warmClients } from '../../fixtures/run/instance.ts'

const REGISTRATIONS = 1_000_000
const SITES = 10_000
const PAGE_WITHIN_MS = 50
const REPETITIONS = 10
const CLIENTS = 100
/** Rounds of exchanges on the empty and on the full database, in turns. */
const ROUNDS = 6
const COST_RATIO = 1.2

const SORTS = ['name', 'clientId', 'registeredAt', 'expiresAt', 'expiresInDays', 'state', 'enabled', 'lastUsedAt']
const unusedSince = new Date(Date.now() - 200 * DAY_MS).toISOString()
const FILTERS = [
  ...['search=service', 'search=77777', 'search=absent', `unusedSince=${unusedSince}`, 'enabled=false', 'enabled=true'],
  ...['active', 'expiring_30d', 'expiring_7d', 'expired'].map(state => `state=${state}`)
]
const QUERIES = [
  ...SORTS.flatMap(sort => ['asc', 'desc'].map(order => `sort=${sort}&order=${order}`)),
  ...FILTERS,
  'search=service&state=expired&sort=expiresAt&order=desc',
  'search=service&sort=lastUsedAt&order=desc',
  'search=777&sort=registeredAt',
  'enabled=false&state=active&sort=lastUsedAt&order=desc'
]

/**
 * Pages that do not meet the limit, as docs/security/not-met.md says: a search for a text of few names, which reads all
 * names, and Last used of a Site with tens of thousands of registrations. They must be answered nevertheless.
 */
const NOT_MET = /search=(?!service)|sites.*state=active&sort=lastUsedAt/
const ANSWERED_WITHIN_MS = 5_000

// [FAULT-25]
t.test(
  '1,000,000 skewed registrations: sorts and filters by an index within 50 ms at p99, and a token costs at most 1.2 times as much',
  async t => {
    // Postgres logs how it runs each statement.
    const settings = ['session_preload_libraries=auto_explain', 'auto_explain.log_min_duration=0']
    const [empty, full] = [
      await startCluster(t, ['synchronous_commit=off']),
      await startCluster(t, [...settings, 'synchronous_commit=off', 'max_wal_size=4GB', 'shared_buffers=512MB'])
    ]
    const [few, many] = [
      (await startInstance(t, empty.url, { LOG_LEVEL: 'error' })).grantd,
      (await startInstance(t, full.url, { LOG_LEVEL: 'error' })).grantd
    ]
    const [fewClients, manyClients] = [await warmClients(CLIENTS, few), await warmClients(CLIENTS, many)]
    await fill(full.url)
    const [largest = ''] = await sitesBySize(full.url)

    const before = full.log.length
    const times: { page: string; ms: number }[] = []
    const refused: string[] = []
    for (const collection of ['/v1/app-registrations', `/v1/sites/${largest}/app-registrations`]) {
      for (const parameters of QUERIES) await time(`${collection}?${parameters}`)
    }
    for (const page of ['alerts', 'notices', 'audit-events', 'expirations.ics'])
      await time(`/v1/sites/${largest}/${page}`)
    for (const page of ['alerts', 'audit-events']) await time(`/v1/${page}`)
    await time(`/v1/app-registrations?siteId=${largest}`)
    async function time(page: string): Promise<void> {
      for (let repetition = 0; repetition < REPETITIONS; repetition++) {
        const startedAt = performance.now()
        const { status } = await many.asAdmin('GET', page)
        times.push({ page, ms: performance.now() - startedAt })
        if (status !== 200) refused.push(`${page}: ${status}`)
      }
    }
    t.same([...new Set(refused)], [])
    times.sort((a, b) => a.ms - b.ms)
    t.ok(times.every(({ ms }) => ms < ANSWERED_WITHIN_MS))
    const limited = times.filter(({ page }) => !NOT_MET.test(page))
    const p99 = limited[Math.floor(limited.length * 0.99)]?.ms ?? Number.POSITIVE_INFINITY
    t.ok(p99 <= PAGE_WITHIN_MS, `p99 ${p99.toFixed(1)} ms; slower: ${JSON.stringify(slowPages(limited))}`)
    t.same(sequentialScans(full, before), [], 'no table is read from end to end')

    const ratio = await costRatio([few, fewClients], [many, manyClients])
    t.ok(ratio <= COST_RATIO, `a token costs ${ratio.toFixed(2)} times as much`)
    t.same(sequentialScans(full, before), [], 'no exchange reads a table from end to end')
    t.comment(
      `${limited.length} pages, p50 ${limited[limited.length >> 1]?.ms.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms; 0 sequential scans; ` +
        `a token costs ${ratio.toFixed(2)} times as much; not met: ${JSON.stringify(slowPages(times))}`
    )
  }
)

/** Returns the median of each page that is slower than it may be, in milliseconds. */
function slowPages(times: readonly { page: string; ms: number }[]): Record<string, number> {
  const pages: Record<string, number> = {}
  for (const page of new Set(times.map(time => time.page))) {
    const sorted = times.filter(time => time.page === page).map(({ ms }) => ms)
    const median = sorted.sort((a, b) => a - b)[sorted.length >> 1] ?? 0
    if (median > PAGE_WITHIN_MS) pages[page] = Math.round(median)
  }
  return pages
}

/** Returns by how much an exchange on the second service takes longer. The median of rounds, which are taken in turns. */
async function costRatio(...[one, other]: [[Grantd, Client[]], [Grantd, Client[]]]): Promise<number> {
  const ratios: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    const [few, many] = [await exchangesPerSecond(...one), await exchangesPerSecond(...other)]
    ratios.push(few / many)
  }
  return ratios.sort((a, b) => a - b)[ROUNDS >> 1] ?? Number.POSITIVE_INFINITY
}

async function exchangesPerSecond({ baseUrl }: Grantd, clients: readonly Client[]): Promise<number> {
  const headers = { 'Content-Type': 'application/x-www-form-urlencoded' }
  const requests = clients.map(({ clientId, clientSecret }) =>
    requestBytes(
      '/oauth/token',
      headers,
      Buffer.from(`grant_type=client_credentials&client_id=${clientId}&client_secret=${clientSecret}`)
    )
  )
  const { answers, failures, seconds } = await closedLoop([Number(new URL(baseUrl).port)], requests, {
    connections: 8,
    seconds: 2
  })
  if (failures > 0) throw new Error(`${failures} exchanges failed`)
  return answers / seconds
}

/** In the estimate of Postgres. A scan of a million rows costs tens of thousands, and one of a few thousand notices about a hundred. */
const COST_OF_SMALL_TABLE = 1_000

/** Returns the scans of large tables from end to end that are in the log. Small tables may be read so. */
function sequentialScans({ log }: PostgresCluster, from: number): string[] {
  const scans = log
    .slice(from)
    .matchAll(/Seq Scan on (registrations|registration_last_used|audit_events|notices)\b.*?\(cost=[\d.]+?\.\.(\d+)/g)
  return [...new Set([...scans].filter(([, , cost]) => Number(cost) > COST_OF_SMALL_TABLE).map(([scan]) => scan))]
}

async function sitesBySize(databaseUrl: string): Promise<string[]> {
  const rows = await query(databaseUrl, 'select site_id from registrations group by 1 order by count(*) desc limit 10')
  return rows.map(Object).map(({ site_id }) => site_id)
}

/**
 * Adds registrations: some Sites have thousands and most have few, 30 % are expired, 10 % are disabled, and a fifth was never used.
 * The other columns are those of a registration that is there. Rows are neither explained nor checked against each other.
 */
function fill(databaseUrl: string): Promise<void> {
  const varied: Record<string, string> = {
    client_id: 'left(md5(i::text), 20)',
    site_id: `'site-' || floor(${SITES} * power(random(), 3))`,
    name: "'Service ' || md5(i::text || 'name')",
    name_folded: "'service ' || md5(i::text || 'name')",
    enabled: 'random() < 0.9',
    registered_at: "now() - random() * interval '1000 days'",
    expires_at: "now() + (random() - 0.3) * interval '1000 days'"
  }
  return withClient(databaseUrl, async client => {
    await client.query('set auto_explain.log_min_duration = -1; set session_replication_role = replica')
    const { rows } = await client.query(
      `select column_name as name from information_schema.columns
         where table_name = 'registrations' and is_generated = 'NEVER' and column_name <> all ($1)`,
      [Object.keys(varied)]
    )
    const others: string[] = rows.map(Object).map(({ name }) => name)
    await client.query(
      `insert into registrations (${[...Object.keys(varied), ...others].join(', ')})
         select ${[...Object.values(varied), ...others.map(name => `first.${name}`)].join(', ')}
         from (select * from registrations limit 1) as first, generate_series(1, ${REGISTRATIONS}) as i`
    )
    await client.query(
      `insert into registration_last_used (client_id, last_used_at)
         select client_id, case when random() < 0.8 then now() - random() * interval '700 days' end from registrations
         on conflict do nothing`
    )
    await client.query('vacuum analyze')
  })
}
