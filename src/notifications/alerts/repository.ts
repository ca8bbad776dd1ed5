import { type Kysely, sql } from 'kysely'
import type { Database, RegistrationTable } from '../../database/schema.ts'

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
