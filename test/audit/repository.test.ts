import { type CompiledQuery, type Kysely, type RootOperationNode, sql } from 'kysely'
import t from 'tap'
import { type EventListing, listEvents } from '../../src/audit/repository.ts'
import type { Database } from '../../src/database/schema.ts'
import { tamper } from '../fixtures/app/audit.ts'
import { createDatabase, openTestDatabase } from '../fixtures/app/database.ts'
import { DAY_MS } from '../fixtures/app/registration.ts'

const ALL: EventListing = {
  siteId: undefined,
  subject: undefined,
  actor: undefined,
  action: undefined,
  from: undefined,
  to: undefined,
  limit: 51,
  after: undefined
}

/** The plan of the query that this listing makes. */
async function planOf(db: Kysely<Database>, listing: Partial<EventListing>): Promise<string> {
  const nodes: RootOperationNode[] = []
  const spy = db.withPlugin({
    transformQuery: ({ node }) => {
      nodes.push(node)
      return node
    },
    transformResult: async ({ result }) => result
  })
  await listEvents(spy, { ...ALL, ...listing })
  const [node] = nodes
  if (node === undefined) throw new Error('no query')
  const query: CompiledQuery = db.getExecutor().compileQuery(node, { queryId: 'planned' })
  const { rows } = await db.executeQuery<Record<string, string>>({ ...query, sql: `explain ${query.sql}` })
  return rows.map(row => row['QUERY PLAN']).join('\n')
}

t.test('each filter of a listing is served by an index in order, in one Site and over all Sites', async t => {
  const url = await createDatabase(t)
  const walking = new URL(url)
  // A few rows are sorted as fast: the question is whether many would have to be.
  walking.searchParams.set('options', '-c enable_bitmapscan=off')
  const db = openTestDatabase(t, walking.href)
  await tamper(
    url,
    `insert into audit_events
       select 'site-' || n % 30, n / 30 + 1, timestamptz '2026-01-01Z' + n * interval '1 minute',
         'registration.' || (array['created', 'changed', 'renewed', 'deleted'])[1 + n * 7 / 30 % 4],
         'subject-' || n % 30 || '-' || n / 30 % 25, 'actor-' || n * 11 / 30 % 40,
         'i', 'r', 's', '{}', decode(repeat('00', 32), 'hex'), decode(repeat('00', 32), 'hex')
       from generate_series(0, 29999) n`
  )
  await sql`analyze audit_events`.execute(db)
  const siteId = 'site-7'
  const after = { occurredAt: '2026-01-10T00:00:00.000Z', siteId, sequence: 400 }
  const from = Date.parse('2026-01-05T00:00:00Z')
  for (const [listing, index] of [
    [{ siteId }, 'audit_events_(site_id_)?occurred_at'],
    [{ siteId, after }, 'audit_events_(site_id_)?occurred_at'],
    [{ siteId, from, to: from + DAY_MS }, 'audit_events_(site_id_)?occurred_at'],
    [{ siteId, actor: 'actor-3', after }, 'audit_events_site_id_actor'],
    [{ siteId, action: 'registration.deleted' }, 'audit_events_site_id_(action|occurred_at)'],
    [{ siteId, subject: 'subject-7-3' }, 'audit_events_subject'],
    [{ after }, 'audit_events_occurred_at'],
    [{ from }, 'audit_events_occurred_at'],
    [{ actor: 'actor-3' }, 'audit_events_actor'],
    [{ action: 'registration.deleted', after }, 'audit_events_(action|occurred_at)'],
    [{ subject: 'subject-7-3' }, 'audit_events_subject']
  ] as const) {
    const plan = await planOf(db, listing)
    t.match(plan, new RegExp(`Index Scan.* using ${index} `), `${JSON.stringify(listing)}\n${plan}`)
    t.notMatch(plan, /Sort|Seq Scan/)
  }
})
