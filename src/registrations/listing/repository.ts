import { type Kysely, type RawBuilder, sql } from 'kysely'
import type { Database } from '../../database/schema.ts'
import { MINUTE_MS } from '../../time.ts'
import { type Registration, registrations } from '../repository.ts'
import { bucketOf, FEW_EXCHANGES, FIRST_SHARED_BUCKET } from './exchange-count.ts'

export type SortKey = 'name' | 'clientId' | 'registeredAt' | 'expiresAt' | 'enabled' | SplitSortKey

/** Value of the sort column in a row. The next page begins after it. */
export type SortValue = string | number | boolean | null

export interface Listing {
  /** Undefined for all Sites. */
  siteId: string | undefined
  sort: SortKey
  descending: boolean
  limit: number
  /** Continue after this row. */
  after: { value: SortValue; clientId: string } | undefined
  /** Part of the folded name or of the client id, without wildcards. */
  search: string | undefined
  enabled: boolean | undefined
  key: string | undefined
  /** Whether only registrations with a key are listed, or only those without one. */
  keyed: boolean | undefined
  /** Expiry later than `after` and not later than `upTo`, in milliseconds since the epoch. */
  expiry: { after?: number; upTo?: number }
  /** Not used at or after this instant, in milliseconds since the epoch. Registrations that were never used count. */
  unusedSince: number | undefined
}

/** Lists a page of registrations, in the order of the sort. */
export async function listRegistrations(db: Kysely<Database>, listing: Listing): Promise<Registration[]> {
  const matching = listing.search === undefined ? undefined : await searchFilter(db, listing.search, listing.siteId)
  const { sort, descending, after, limit } = listing
  if (!isSplit(sort)) return page(db, listing, sort, matching).execute()
  const [first, second] = descending ? PARTS[sort].toReversed() : PARTS[sort]
  if (first === undefined || second === undefined) throw new Error('a listing has two parts')
  const isInSecond = after !== undefined && partOf(sort, after.value) === second
  if (isInSecond) return page(db, listing, second, matching).execute()
  // One statement, so that a use in between moves no row from one part to the other. Postgres reads the second part only
  // when the first does not fill the page.
  return db
    .selectFrom(page(db, listing, first, matching).as('first'))
    .selectAll()
    .unionAll(db.selectFrom(page(db, { ...listing, after: undefined }, second, matching).as('second')).selectAll())
    .limit(limit)
    .execute()
}

/** Sorts whose rows with the lowest values are a part of their own, because an index has them in order of the client id. */
type SplitSortKey = 'lastUsedAt' | 'exchangeCount'
type Part = 'neverUsed' | 'used' | 'fewExchanges' | 'manyExchanges'

/** The two parts of a sort, in ascending order. */
const PARTS: Record<SplitSortKey, readonly Part[]> = {
  lastUsedAt: ['neverUsed', 'used'],
  exchangeCount: ['fewExchanges', 'manyExchanges']
}

function isSplit(sort: SortKey): sort is SplitSortKey {
  return sort in PARTS
}

function partOf(sort: SplitSortKey, value: SortValue): Part {
  if (sort === 'lastUsedAt') return value === null ? 'neverUsed' : 'used'
  return Number(value) < FEW_EXCHANGES ? 'fewExchanges' : 'manyExchanges'
}

type Order = Exclude<SortKey, SplitSortKey> | Part

/** Selects the rows of a page, without those before it. */
function page(db: Kysely<Database>, listing: Listing, order: Order, matching: RawBuilder<boolean> | undefined) {
  const { siteId, descending, limit, after, enabled, key, keyed, expiry, unusedSince } = listing
  const direction = descending ? 'desc' : 'asc'
  // Over all Sites, each sort and each filter has an index of its own. In a Site, its quota bounds the rows.
  let query = registrations(db).limit(limit)
  const columns = ORDERS[order]
  for (const column of columns) query = query.orderBy(column, direction)
  if (siteId !== undefined) query = query.where('site_id', '=', siteId)
  if (enabled !== undefined) query = query.where('enabled', '=', enabled)
  if (key !== undefined) query = query.where('key', '=', key) // Index: registrations_key
  if (keyed !== undefined) query = query.where('key', keyed ? 'is not' : 'is', null)
  if (expiry.after !== undefined) query = query.where('expires_at', '>', new Date(expiry.after))
  if (expiry.upTo !== undefined) query = query.where('expires_at', '<=', new Date(expiry.upTo))
  if (unusedSince !== undefined) {
    const since = new Date(unusedSince)
    query = query
      .where('last_used_minute', '<=', minuteOf(since)) // Index: registration_last_used_last_used_minute
      .where(eb => eb.or([eb('last_used_at', 'is', null), eb('last_used_at', '<', since)]))
  }
  if (matching !== undefined) query = query.where(matching)
  const range = RANGES[order]
  if (range !== undefined) query = query.where(range)
  if (after !== undefined) {
    // With "or equal", because Postgres estimates a comparison of rows by the first column only.
    const operator = sql.raw(descending ? '<=' : '>=')
    const position = [...positionIn(order, after.value), sql`${after.clientId}`]
    query = query
      .where(sql<boolean>`(${sql.join(columns)}) ${operator} (${sql.join(position)})`)
      .where('registrations.client_id', '<>', after.clientId)
    // By itself, because Postgres reads the index by this column only.
    if (order === 'used' || order === 'manyExchanges')
      query = query.where(sql<boolean>`${columns[0]} ${operator} ${position[0]}`)
  }
  return query
}

const CLIENT_ID = sql.ref('registrations.client_id')
const USED_CLIENT_ID = sql.ref('registration_last_used.client_id')
const BUCKET = sql.ref('exchange_count_bucket')

/** The rows of each part. */
const RANGES: { readonly [Name in Order]?: RawBuilder<boolean> } = {
  neverUsed: sql`last_used_minute = '-infinity'`,
  used: sql`last_used_minute > '-infinity'`,
  fewExchanges: sql`${BUCKET} < ${sql.lit(FIRST_SHARED_BUCKET)}`,
  manyExchanges: sql`${BUCKET} >= ${sql.lit(FIRST_SHARED_BUCKET)}`
}

/** Columns that a sort orders by, and the index that has this order. */
const ORDERS: Record<Order, readonly RawBuilder<unknown>[]> = {
  name: [sql.ref('name_folded'), CLIENT_ID], // registrations_name_folded, registrations_site_id_name_folded
  clientId: [CLIENT_ID], // registrations_pkey
  registeredAt: [sql.ref('registered_at'), CLIENT_ID], // registrations_registered_at
  expiresAt: [sql.ref('expires_at'), CLIENT_ID], // registrations_expires_at, registrations_site_id_expires_at
  enabled: [sql.ref('enabled'), CLIENT_ID], // registrations_enabled
  neverUsed: [USED_CLIENT_ID], // registration_last_used_last_used_minute
  // registration_last_used_last_used_minute, and within a minute by sorting
  used: [sql.ref('last_used_minute'), sql.ref('last_used_at'), USED_CLIENT_ID],
  fewExchanges: [BUCKET, USED_CLIENT_ID], // registration_last_used_exchange_count
  // registration_last_used_exchange_count, and within a bucket by sorting
  manyExchanges: [BUCKET, sql.ref('registration_last_used.exchange_count'), USED_CLIENT_ID]
}

/** Returns the values of the columns of an order except the client id, in the row after which a page begins. */
function positionIn(order: Order, value: SortValue): RawBuilder<unknown>[] {
  if (order === 'clientId' || order === 'neverUsed') return []
  if (order === 'used') return [sql`${minuteOf(new Date(String(value)))}`, sql`${value}::timestamptz`]
  if (order === 'fewExchanges') return [sql`${bucketOf(Number(value))}`]
  if (order === 'manyExchanges') return [sql`${bucketOf(Number(value))}`, sql`${value}::bigint`]
  return [sql`${value}`]
}

function minuteOf(instant: Date): Date {
  return new Date(Math.floor(instant.getTime() / MINUTE_MS) * MINUTE_MS)
}

/** With more matches than this, the rows of a page are soon found by reading in the order of the sort. */
const FEW_MATCHES = 1_000

/**
 * Returns the filter of a search. The matches of a rare text are found first, in an index that holds the names. A common
 * text is looked for while a page is read, until the page is full.
 */
async function searchFilter(
  db: Kysely<Database>,
  search: string,
  siteId: string | undefined
): Promise<RawBuilder<boolean>> {
  // Not "like", which Postgres estimates to be so rare that it would read all matches and sort them.
  const contains = sql<boolean>`(strpos(name_folded, ${search}) > 0 or strpos(${CLIENT_ID}, ${search}) > 0)`
  let query = db
    .selectFrom('registrations') // Reads registrations_name_folded only, or registrations_site_id_name_folded in a Site.
    .select('client_id')
    .where(contains)
    .orderBy('name_folded')
    .limit(FEW_MATCHES + 1)
  if (siteId !== undefined) query = query.where('site_id', '=', siteId)
  const matches = await query.execute()
  if (matches.length > FEW_MATCHES) return contains
  return sql<boolean>`${CLIENT_ID} = any(${matches.map(match => match.client_id)})`
}
