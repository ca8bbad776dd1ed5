import { Kysely, PostgresDialect } from 'kysely'
import type pg from 'pg'
import t from 'tap'
import { sessionSettings } from '../../src/database/connect.ts'
import type { Database } from '../../src/database/schema.ts'
import { expiryRange, REGISTRATION_STATES } from '../../src/registrations/lifecycle.ts'
import { type Listing, listRegistrations, type SortKey } from '../../src/registrations/listing/repository.ts'
import { asServingRole, createDatabase, query, withClient } from '../fixtures/app/database.ts'
import { DAY_MS } from '../fixtures/app/registration.ts'

const NOW = Date.parse('2026-11-25T10:30:00.000Z')
const REGISTRATIONS = 60_000
/** A filter that leaves few rows visits all that it leaves, in two tables. A scan would visit 60,000. */
const MOST_ROWS_VISITED = 10_000
/** Without a filter, and with a text of every name, a page stops when it is full. */
const MOST_ROWS_OF_FULL_PAGE = 1_000
const STOPS_WHEN_FULL = ['no filter', 'a text of every name']

/** Each sort, with a row after which the next page begins. */
const SORTS: { [Key in SortKey]: Listing['after'] } = {
  name: { value: 'service 3', clientId: '' },
  clientId: { value: null, clientId: 'a'.repeat(20) },
  registeredAt: { value: new Date(NOW - 100 * DAY_MS).toISOString(), clientId: '' },
  expiresAt: { value: new Date(NOW + 100 * DAY_MS).toISOString(), clientId: '' },
  enabled: { value: true, clientId: 'a' },
  lastUsedAt: { value: new Date(NOW - 10 * DAY_MS).toISOString(), clientId: '' },
  exchangeCount: { value: 12_345, clientId: '' }
}
const SORT_KEYS: SortKey[] = [
  ...(['name', 'clientId', 'registeredAt', 'expiresAt', 'enabled', 'lastUsedAt', 'exchangeCount'] as const)
]
const FILTERS: Record<string, Partial<Listing>> = {
  'no filter': {},
  'enabled only': { enabled: true },
  'disabled only': { enabled: false },
  'unused for 300 days': { unusedSince: NOW - 300 * DAY_MS },
  'unused for a day': { unusedSince: NOW - DAY_MS },
  'a key': { key: 'service-4711' },
  'with a key': { keyed: true },
  'without a key': { keyed: false },
  'a rare text': { search: 'service 4711' },
  'a text of no name': { search: 'nowhere' },
  'a text of every name': { search: 'service' },
  'a text of one name in twenty': { search: '77' },
  ...Object.fromEntries(REGISTRATION_STATES.map(state => [`state ${state}`, { expiry: expiryRange(state, NOW) }]))
}
const ANY: Listing = {
  ...{ siteId: undefined, sort: 'name', descending: false, limit: 50, after: undefined, search: undefined },
  ...{ enabled: undefined, key: undefined, keyed: undefined, expiry: {}, unusedSince: undefined }
}

interface PlanNode {
  'Node Type': string
  'Relation Name'?: string
  'Index Name'?: string
  'Actual Rows': number
  'Actual Loops': number
  'Rows Removed by Filter'?: number
  'Heap Fetches'?: number
  Plans?: PlanNode[]
}

/** Runs a listing. @returns the plan of each statement that it sends, one after the other */
async function planOf(client: pg.Client, listing: Listing): Promise<PlanNode[]> {
  const nodes: PlanNode[] = []
  const flatten = (node: PlanNode): PlanNode[] => [node, ...(node.Plans ?? []).flatMap(flatten)]
  const explaining = {
    query: async (text: string, values: readonly unknown[]) => {
      const { rows } = await client.query(`explain (analyze, timing off, format json) ${text}`, [...values])
      nodes.push(...flatten(rows[0]['QUERY PLAN'][0].Plan))
      return client.query(text, [...values])
    },
    release: () => {}
  }
  const pool = { options: {}, connect: async () => explaining, end: async () => {} }
  // A client without cursors is all that these statements need.
  const db = new Kysely<Database>({ dialect: new PostgresDialect(Object({ pool })) })
  await listRegistrations(db, listing)
  return nodes
}

/** Rows of tables that a plan reads. An index that holds all columns is read without its table. */
function rowsVisited(plan: readonly PlanNode[]): number {
  return plan
    .filter(node => 'Relation Name' in node)
    .filter(node => !(node['Node Type'] === 'Index Only Scan' && node['Heap Fetches'] === 0))
    .reduce(
      (sum, node) => sum + (node['Actual Rows'] + (node['Rows Removed by Filter'] ?? 0)) * node['Actual Loops'],
      0
    )
}

t.test('every sort and every filter is served by an index, also over all Sites, forward and backward', async t => {
  const url = await createDatabase(t)
  // Skewed: the first of 500 Sites has an eighth of the rows. One in fifty is disabled, one in fifty has a key, and one in a
  // thousand expires soon.
  await query(
    url,
    `insert into registrations (client_id, site_id, name, name_folded, secret_hash, secret_mac, secret_mac_key_id,
       secret_created_at, scopes, enabled, key, registered_at, expires_at, expiry_set_at)
     select substr(md5(i::text), 1, 20), 'site-' || floor(500 * power(i / $1::float, 3)), 'service ' || i, 'service ' || i,
       '$argon2id$' || repeat('x', 87), decode(repeat('00', 32), 'hex'), 'none', now(), '{devices.read,devices.write}', hashint4(i) % 50 <> 0,
       case when i % 50 = 11 then 'service-' || i end,
       $2::timestamptz - i * interval '5 minutes',
       $2::timestamptz + case when hashint4(i) % 1000 = 1 then -10 when hashint4(i) % 1000 = 2 then 5
         when hashint4(i) % 1000 = 3 then 20 else 40 + abs(hashint4(i + 1) % 300) end * interval '1 day', now()
     from generate_series(1, $1::int) i`,
    [REGISTRATIONS, new Date(NOW)]
  )
  await query(
    url,
    // A fifth was never used, and another fifth was used in one hour.
    `update registration_last_used set last_used_at = case
       when abs(hashtext(client_id)) % 50 < 10 then null
       when abs(hashtext(client_id)) % 50 < 20 then $1::timestamptz - abs(hashtext(client_id || 'x')) % 3600 * interval '1 second'
       when abs(hashtext(client_id)) % 50 = 20 then $1::timestamptz - interval '310 days'
       else $1::timestamptz - abs(hashtext(client_id || 'x')) % 100000 * interval '20 seconds' end`,
    [new Date(NOW)]
  )
  await query(
    url,
    // A fifth has none, as many have one to five, and the others up to a million.
    `update registration_last_used set (exchange_count, exchange_count_bucket) = (
       select n, exchange_count_bucket(n) from (select case
         when last_used_at is null then 0
         when abs(hashtext(client_id)) % 50 < 20 then 1 + abs(hashtext(client_id || 'y')) % 5
         else power(10, 2 + abs(hashtext(client_id || 'y')) % 4000 / 1000.0)::bigint end) as counted (n))`
  )
  // Commits are asynchronous in tests, and vacuum passes over pages whose commits are not on disk.
  await query(url, 'checkpoint')
  for (const table of ['registrations', 'registration_last_used']) await query(url, `vacuum analyze ${table}`)
  await withClient(asServingRole(url), async client => {
    await client.query(sessionSettings.administration.map(setting => `set ${setting}`).join(';'))
    const worst: [rows: number, what: string, most: number][] = []
    for (const siteId of [undefined, 'site-250']) {
      await client.query(`set grantd.site_id = '${siteId ?? '*'}'`)
      for (const sort of SORT_KEYS) {
        for (const [filter, listing] of Object.entries(FILTERS)) {
          for (const descending of [false, true]) {
            for (const after of [undefined, SORTS[sort]]) {
              const what = `${sort} ${descending ? 'desc' : 'asc'}, ${filter}, ${siteId ?? 'all Sites'}, ${after ? 'next' : 'first'} page`
              const plan = await planOf(client, {
                ...ANY,
                ...listing,
                siteId,
                sort,
                descending,
                after
              })
              const scans = plan.filter(node => node['Node Type'] === 'Seq Scan' && node['Actual Loops'] > 0)
              if (scans.length > 0) t.fail(`${what} scans ${scans.map(node => node['Relation Name'])}`)
              worst.push([
                rowsVisited(plan),
                what,
                siteId === undefined && STOPS_WHEN_FULL.includes(filter) ? MOST_ROWS_OF_FULL_PAGE : MOST_ROWS_VISITED
              ])
            }
          }
        }
      }
    }
    worst.sort(([one], [other]) => other - one)
    for (const [rows, what] of worst.slice(0, 12)) t.comment(`${rows} rows: ${what}`)
    for (const [rows, what, most] of worst) if (rows > most) t.fail(`${what} visits ${rows} rows`)
  })
})
