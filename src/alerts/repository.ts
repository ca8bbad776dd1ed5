import { type Kysely, sql } from 'kysely'
import type { Database, RegistrationTable } from '../database/schema.ts'
import { EXPIRING_MS, type RegistrationState } from '../registrations/lifecycle.ts'

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

/** How many registrations of all Sites are in each state. `now`: milliseconds since the epoch. */
export async function countRegistrationsByState(
  db: Kysely<Database>,
  now: number
): Promise<Record<RegistrationState, number>> {
  const at = new Date(now)
  const in7Days = new Date(now + EXPIRING_MS.expiring_7d)
  const in30Days = new Date(now + EXPIRING_MS.expiring_30d)
  // Four ranges of registrations_expires_at, of which the index alone is read.
  const { rows } = await sql<Record<RegistrationState, number>>`select
    (select count(*)::integer from registrations where expires_at <= ${at}) as expired,
    (select count(*)::integer from registrations where expires_at > ${at} and expires_at <= ${in7Days}) as expiring_7d,
    (select count(*)::integer from registrations where expires_at > ${in7Days} and expires_at <= ${in30Days}) as expiring_30d,
    (select count(*)::integer from registrations where expires_at > ${in30Days}) as active`.execute(db)
  return { active: 0, expiring_30d: 0, expiring_7d: 0, expired: 0, ...rows[0] }
}
