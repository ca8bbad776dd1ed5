import type { Kysely } from 'kysely'
import type { Database } from '../../database/schema.ts'
import type { Expiration } from './calendar.ts'

/** The most events that one calendar has. Without a limit a large Site would cost seconds and megabytes on each poll. */
const MAX_EVENTS = 1_000

/**
 * Reads the registrations of a Site for its calendar: those that expire next, then the latest expired ones, up to the
 * limit. The first to expire comes first.
 */
export async function listExpirations(
  db: Kysely<Database>,
  siteId: string,
  now: Date,
  limit = MAX_EVENTS
): Promise<{ expirations: Expiration[]; isTruncated: boolean }> {
  const upcoming = await calendarRows(db, siteId, limit + 1)
    .where('expires_at', '>', now)
    .orderBy('expires_at')
    .orderBy('client_id')
    .execute()
  if (upcoming.length > limit) return { expirations: upcoming.slice(0, limit), isTruncated: true }
  const room = limit - upcoming.length
  const expired = await calendarRows(db, siteId, room + 1)
    .where('expires_at', '<=', now)
    .orderBy('expires_at', 'desc')
    .orderBy('client_id', 'desc')
    .execute()
  return {
    expirations: [...expired.slice(0, room).toReversed(), ...upcoming],
    isTruncated: expired.length > room
  }
}

function calendarRows(db: Kysely<Database>, siteId: string, limit: number) {
  return db
    .selectFrom('registrations')
    .select(['client_id', 'name', 'enabled', 'registered_at', 'expires_at', 'version'])
    .where('site_id', '=', siteId) // Index: registrations_site_id_expires_at
    .limit(limit)
}
