import type { CursorKeys } from '../../admin-api/cursor.ts'
import { type Page, readPage } from '../../admin-api/page.ts'
import type { Sites } from '../../admin-api/site.ts'
import { DAY_MS } from '../../time.ts'
import { type Expired, listExpired } from './repository.ts'
import type { AlertBody, AlertQueryInput } from './schemas.ts'

/**
 * Reads one page of the registrations that have expired by now. Alerts are not stored, so a registration that is
 * renewed or deleted is missing from the next read.
 *
 * @param now milliseconds since the epoch
 * @throws Problem 400 for a cursor that grantd did not write for this listing
 */
export function readAlertPage(
  cursorKeys: CursorKeys,
  { siteId, db }: Sites,
  query: AlertQueryInput,
  now: number
): Promise<Page<Expired>> {
  return readPage<Expired, [string, string]>({
    cursorKeys,
    listing: ['alerts', siteId],
    query,
    read: (limit, after) =>
      listExpired(db, {
        siteId,
        now: new Date(now),
        limit,
        after: after && { expiresAt: after[0], clientId: after[1] }
      }),
    position: row => [row.expires_at.toISOString(), row.client_id]
  })
}

/** Returns an alert as the admin API shows it. @param now milliseconds since the epoch */
export function representAlert(row: Expired, now: number): AlertBody {
  return {
    clientId: row.client_id,
    name: row.name,
    expiresAt: row.expires_at.toISOString(),
    enabled: row.enabled,
    expiredDays: Math.floor((now - row.expires_at.getTime()) / DAY_MS)
  }
}
