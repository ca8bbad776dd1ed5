import type { Kysely } from 'kysely'
import { type CursorKeys, positionAfter, writeCursor } from '../../admin-api/cursor.ts'
import { DEFAULT_LIMIT } from '../../admin-api/page.ts'
import type { Database } from '../../database/schema.ts'
import { DAY_MS } from '../../time.ts'
import { type Expired, listExpired } from './repository.ts'
import type { AlertBody, AlertQueryInput } from './schemas.ts'

/**
 * Reads one page of the registrations that have expired by now. Alerts are not stored, so a registration that is
 * renewed or deleted is missing from the next read.
 *
 * @param siteId undefined for all Sites
 * @param now milliseconds since the epoch
 * @throws Problem 400 for a cursor that grantd did not write for this listing
 */
export async function readAlertPage(
  { db, cursorKeys }: { db: Kysely<Database>; cursorKeys: CursorKeys },
  siteId: string | undefined,
  { limit = DEFAULT_LIMIT, cursor }: AlertQueryInput,
  now: number
): Promise<{ rows: Expired[]; nextCursor: string | null }> {
  const listing = JSON.stringify(['alerts', siteId])
  const after = positionAfter<[string, string]>(cursorKeys, listing, cursor)
  const rows = await listExpired(db, {
    siteId,
    now: new Date(now),
    limit: limit + 1,
    after: after && { expiresAt: after[0], clientId: after[1] }
  })
  const page = rows.slice(0, limit)
  const last = page.at(-1)
  if (last === undefined || rows.length <= limit) return { rows: page, nextCursor: null }
  return { rows: page, nextCursor: writeCursor(cursorKeys, listing, [last.expires_at.toISOString(), last.client_id]) }
}

export function representAlert(row: Expired, now: number): AlertBody {
  return {
    clientId: row.client_id,
    name: row.name,
    expiresAt: row.expires_at.toISOString(),
    enabled: row.enabled,
    expiredDays: Math.floor((now - row.expires_at.getTime()) / DAY_MS)
  }
}
