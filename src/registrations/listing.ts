import type { CursorKeys } from '../admin-api/cursor.ts'
import { parseInstantParameter } from '../admin-api/instant.ts'
import { type Page, readPage } from '../admin-api/page.ts'
import type { Sites } from '../admin-api/site.ts'
import { expiryRange, foldName } from './lifecycle.ts'
import { listRegistrations, type Registration, type SortKey, type SortValue } from './repository.ts'
import { DEFAULT_SORT, type GridColumn, type ListInput } from './schemas.ts'

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
  const { search, state, enabled } = query
  const { sort, descending } = readSort(query.sort)
  const unusedSince = parseInstantParameter('unusedSince', query.unusedSince)
  return readPage<Registration, [SortValue, string]>({
    cursorKeys,
    listing: ['registrations', siteId, query.sort ?? DEFAULT_SORT, search, state, enabled, query.unusedSince],
    query,
    read: (limit, after) =>
      listRegistrations(db, {
        ...{ siteId, sort, descending, limit, enabled, unusedSince },
        after: after && { value: after[0], clientId: after[1] },
        search: search === undefined ? undefined : foldName(search),
        expiry: state === undefined ? {} : expiryRange(state, now)
      }),
    position: row => [sortValue(row, sort), row.client_id]
  })
}

function readSort(sort: ListInput['sort'] = DEFAULT_SORT): { sort: SortKey; descending: boolean } {
  const column = Object.keys(SORT_KEYS).find((name): name is GridColumn => name === sort.replace(/^-/, ''))
  return { sort: SORT_KEYS[column ?? DEFAULT_SORT], descending: sort.startsWith('-') }
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
