import type { Kysely } from 'kysely'
import { type CursorKeys, positionAfter, writeCursor } from '../admin-api/cursor.ts'
import { parseInstant } from '../admin-api/instant.ts'
import { invalidRequest } from '../admin-api/validation.ts'
import type { Database } from '../database/schema.ts'
import { expiryRange, foldName } from './lifecycle.ts'
import { listRegistrations, type Registration, type SortKey, type SortValue } from './repository.ts'
import { DEFAULT_LIMIT, DEFAULT_SORT, type GridColumn, type ListInput } from './schemas.ts'

/** Columns that are functions of the expiry sort as it does. */
const SORT_KEYS: Record<GridColumn, SortKey> = {
  name: 'name',
  clientId: 'clientId',
  registeredAt: 'registeredAt',
  expiresAt: 'expiresAt',
  expiresInDays: 'expiresAt',
  state: 'expiresAt',
  enabled: 'enabled',
  lastUsedAt: 'lastUsedAt'
}

/**
 * Reads one page of registrations, and where the next begins.
 *
 * @param siteId undefined for all Sites
 * @throws Problem 400 for a cursor of another listing, or one that nobody made
 */
export async function readPage(
  { db, cursorKeys }: { db: Kysely<Database>; cursorKeys: CursorKeys },
  siteId: string | undefined,
  query: ListInput,
  now: number
): Promise<{ rows: Registration[]; nextCursor: string | null }> {
  const { limit = DEFAULT_LIMIT } = query
  const { sort, descending } = readSort(query.sort)
  const listing = identity(siteId, query)
  const after = positionAfter<[SortValue, string]>(cursorKeys, listing, query.cursor)
  const rows = await listRegistrations(db, {
    siteId,
    sort,
    descending,
    // One more than asked for: whether it exists says whether there is a next page.
    limit: limit + 1,
    after: after && { value: after[0], clientId: after[1] },
    search: query.search === undefined ? undefined : foldName(query.search),
    enabled: query.enabled,
    expiry: query.state === undefined ? {} : expiryRange(query.state, now),
    unusedSince: query.unusedSince === undefined ? undefined : instantOf(query.unusedSince)
  })
  const page = rows.slice(0, limit)
  const last = page.at(-1)
  if (last === undefined || rows.length <= limit) return { rows: page, nextCursor: null }
  return { rows: page, nextCursor: writeCursor(cursorKeys, listing, [sortValue(last, sort), last.client_id]) }
}

function instantOf(unusedSince: string): number {
  const instant = parseInstant(unusedSince)
  if (!Number.isNaN(instant)) return instant
  const detail = 'must be an RFC 3339 date and time with an offset'
  throw invalidRequest([{ parameter: 'unusedSince', code: 'invalid_value', detail }])
}

function readSort(sort: ListInput['sort'] = DEFAULT_SORT): { sort: SortKey; descending: boolean } {
  const column = Object.keys(SORT_KEYS).find((name): name is GridColumn => name === sort.replace(/^-/, ''))
  return { sort: SORT_KEYS[column ?? DEFAULT_SORT], descending: sort.startsWith('-') }
}

/** All that a cursor is bound to: everything but the page's size. */
function identity(siteId: string | undefined, { sort, search, state, enabled, unusedSince }: ListInput): string {
  return JSON.stringify([siteId, sort ?? DEFAULT_SORT, search, state, enabled, unusedSince])
}

function sortValue(row: Registration, sort: SortKey): SortValue {
  return {
    name: foldName(row.name),
    clientId: row.client_id,
    registeredAt: row.registered_at.toISOString(),
    expiresAt: row.expires_at.toISOString(),
    enabled: row.enabled,
    lastUsedAt: row.last_used_at?.toISOString() ?? null
  }[sort]
}
