import { type Kysely, sql } from 'kysely'
import type { Database, RegistrationTable } from '../../database/schema.ts'

/** An expired registration. */
export type Expired = Pick<RegistrationTable, 'client_id' | 'site_id' | 'name' | 'enabled' | 'expires_at'>

export interface AlertListing {
  /** Undefined for all Sites. */
  siteId: string | undefined
  now: Date
  limit: number
  /** Continue after this row. */
  after: { expiresAt: string; clientId: string } | undefined
}

/** A page of what has expired, the latest first. */
export function listExpired(db: Kysely<Database>, { siteId, now, limit, after }: AlertListing): Promise<Expired[]> {
  let query = db
    .selectFrom('registrations')
    .select(['client_id', 'site_id', 'name', 'enabled', 'expires_at'])
    // served by registrations_site_id_expires_at; over all Sites by registrations_expires_at
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

/** What a calendar tells of a registration. */
export type Expiration = Pick<
  RegistrationTable,
  'client_id' | 'name' | 'enabled' | 'registered_at' | 'expires_at' | 'version'
>

/** All of a Site, the next to expire first. Its quota bounds them. */
export function listExpirations(db: Kysely<Database>, siteId: string): Promise<Expiration[]> {
  return db
    .selectFrom('registrations')
    .select(['client_id', 'name', 'enabled', 'registered_at', 'expires_at', 'version'])
    .where('site_id', '=', siteId) // served by registrations_site_id_expires_at
    .orderBy('expires_at')
    .orderBy('client_id')
    .execute()
}
