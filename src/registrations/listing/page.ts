import type { CursorKeys } from '../../admin-api/cursor.ts'
import { instantOrNull, parseInstantParameter } from '../../admin-api/instant.ts'
import { type Page, readPage } from '../../admin-api/page.ts'
import type { Sites } from '../../admin-api/site.ts'
import { expiryRange } from '../lifecycle.ts'
import { foldName } from '../name.ts'
import type { Registration } from '../repository.ts'
import { DEFAULT_ORDER, DEFAULT_SORT, type ListInput, type SortColumn } from '../schemas.ts'
import { listRegistrations, type SortKey, type SortValue } from './repository.ts'

/** Columns that depend on the expiry only sort like the expiry. */
const SORT_KEYS: Record<SortColumn, SortKey> = {
  name: 'name',
  clientId: 'clientId',
  registeredAt: 'registeredAt',
  expiresAt: 'expiresAt',
  expiresInDays: 'expiresAt',
  state: 'expiresAt',
  enabled: 'enabled',
  lastUsedAt: 'lastUsedAt',
  exchangeCount: 'exchangeCount'
}

/**
 * Reads one page of registrations, and where the next page begins.
 *
 * @param now milliseconds since the epoch
 * @throws Problem 400 for a cursor of another listing, or an instant that is not one
 */
export function readRegistrationPage(
  cursorKeys: CursorKeys,
  { siteId, db }: Sites,
  query: ListInput,
  now: number
): Promise<Page<Registration>> {
  const { sort = DEFAULT_SORT, order = DEFAULT_ORDER, search, state, enabled, key, keyed } = query
  const sortKey = SORT_KEYS[sort]
  const unusedSince = parseInstantParameter('unusedSince', query.unusedSince)
  return readPage<Registration, [SortValue, string]>({
    cursorKeys,
    listing: ['registrations', siteId, sort, order, search, state, enabled, query.unusedSince, key, keyed],
    query,
    read: (limit, after) =>
      listRegistrations(db, {
        ...{ siteId, sort: sortKey, descending: order === 'desc', limit, enabled, unusedSince, key, keyed },
        after: after && { value: after[0], clientId: after[1] },
        search: search === undefined ? undefined : foldName(search),
        expiry: state === undefined ? {} : expiryRange(state, now)
      }),
    position: row => [sortValue(row, sortKey), row.client_id]
  })
}

function sortValue(row: Registration, sort: SortKey): SortValue {
  return {
    name: row.name_folded,
    clientId: row.client_id,
    registeredAt: row.registered_at.toISOString(),
    expiresAt: row.expires_at.toISOString(),
    enabled: row.enabled,
    lastUsedAt: instantOrNull(row.last_used_at),
    exchangeCount: row.exchange_count
  }[sort]
}
