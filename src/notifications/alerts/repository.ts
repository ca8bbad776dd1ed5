import { type Kysely, sql } from 'kysely'
import type { Database, RegistrationTable } from '../../database/schema.ts'
import type { Expiration } from '../calendar.ts'

/** An expired registration. */
export type Expired = Pick<RegistrationTable, 'client_id' | 'site_id' | 'name' | 'enabled' | 'expires_at'>

interface AlertListing {
  /** Undefined for all Sites. */
  siteId: string | undefined
  now: Date
  limit: number
  /** Continues after this row. */
  after: { expiresAt: string; clientId: string } | undefined
}

/** Reads a page of the expired registrations, the latest expiry first. */
export function listExpired(db: Kysely<Database>, { siteId, now, limit, after }: AlertListing): Promise<Expired[]> {
  let query = db
    .selectFrom('registrations')
    .select(['client_id', 'site_id', 'name', 'enabled', 'expires_at'])
    // Index: registrations_site_id_expires_at; over all Sites registrations_expires_at
    .where('expires_at', '<=', now)
    .orderBy('expires_at', 'desc')
    .orderBy('client_id', 'desc')
    .limit(limit)
  if (siteId !== undefined) query = query.where('site_id', '=', siteId)
  if (after !== undefined) {
    query = query.where(sql<boolean>`(expires_at, client_id) < (${after.expiresAt}::timestamptz, ${after.clientId})`)
  }
  return query.execute()
}

/**
 * Reads the registrations of a Site for its calendar: those that expire next, then the latest expired ones, up to the
 * limit. The first to expire comes first.
 */
export async function listExpirations(
  db: Kysely<Database>,
  siteId: string,
  now: Date,
  limit: number
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
