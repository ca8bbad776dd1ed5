import { type Kysely, type RawBuilder, type SelectQueryBuilder, sql, type Transaction } from 'kysely'
import type { Database, RegistrationTable } from '../database/schema.ts'

/** What administrators see of a registration: all but the hash. */
export type Registration = Omit<RegistrationTable, 'secret_hash' | 'name_folded' | 'expiry_set_at'> & {
  last_used_at: Date | null
}

/** What the token endpoint reads of a registration. */
export type Credential = Pick<
  RegistrationTable,
  'client_id' | 'site_id' | 'secret_hash' | 'scopes' | 'enabled' | 'expires_at'
>

export type SortKey = 'name' | 'clientId' | 'registeredAt' | 'expiresAt' | 'enabled' | 'lastUsedAt'

/** Value of the sort column in a row: where the next page begins. */
export type SortValue = string | boolean | null

export interface Listing {
  /** Undefined for all Sites. */
  siteId: string | undefined
  sort: SortKey
  descending: boolean
  limit: number
  /** Continue after this row. */
  after: { value: SortValue; clientId: string } | undefined
  /** Part of the folded name or of the client id, taken literally. */
  search: string | undefined
  enabled: boolean | undefined
  /** Expiry after and up to these instants, milliseconds since the epoch. */
  expiry: { after?: number; upTo?: number }
  /** Not used at or after this instant, milliseconds since the epoch; never used counts. */
  unusedSince: number | undefined
}

/** Those of these that exist, in any order: one statement for all who wait. */
export function findCredentials(db: Kysely<Database>, clientIds: readonly string[]): Promise<Credential[]> {
  return db
    .selectFrom('registrations')
    .select(['client_id', 'site_id', 'secret_hash', 'scopes', 'enabled', 'expires_at'])
    .where('client_id', '=', sql<string>`any(${clientIds}::text[])`) // served by registrations_pkey
    .execute()
}

export function findRegistration(
  db: Kysely<Database>,
  siteId: string,
  clientId: string
): Promise<Registration | undefined> {
  return registrations(db)
    .where('registrations.client_id', '=', clientId) // served by registrations_pkey
    .where('site_id', '=', siteId)
    .executeTakeFirst()
}

/** @returns the row, locked until the end of the transaction */
export function lockRegistration(
  trx: Transaction<Database>,
  siteId: string,
  clientId: string
): Promise<Registration | undefined> {
  return registrations(trx)
    .where('registrations.client_id', '=', clientId) // served by registrations_pkey
    .where('site_id', '=', siteId)
    .forNoKeyUpdate('registrations')
    .executeTakeFirst()
}

/** A page of registrations. */
export function listRegistrations(db: Kysely<Database>, listing: Listing): Promise<Registration[]> {
  const { siteId, sort, descending, limit, after, search, enabled, expiry, unusedSince } = listing
  const column = SORT_COLUMNS[sort]
  const direction = descending ? 'desc' : 'asc'
  let query = registrations(db)
    // name: served by registrations_site_id_name_folded, over all Sites by registrations_name_folded; likewise
    // for expires_at. The rest sorts the rows of one Site, which its quota bounds.
    .orderBy(column, direction)
    .orderBy('registrations.client_id', direction)
    .limit(limit)
  if (siteId !== undefined) query = query.where('site_id', '=', siteId)
  if (enabled !== undefined) query = query.where('enabled', '=', enabled)
  if (expiry.after !== undefined) query = query.where('expires_at', '>', new Date(expiry.after))
  if (expiry.upTo !== undefined) query = query.where('expires_at', '<=', new Date(expiry.upTo))
  if (unusedSince !== undefined) {
    const since = new Date(unusedSince)
    query = query.where(eb => eb.or([eb('last_used_at', 'is', null), eb('last_used_at', '<', since)]))
  }
  if (search !== undefined) {
    const pattern = `%${search.replaceAll(/[\\%_]/g, '\\$&')}%`
    query = query.where(eb =>
      eb.or([eb('name_folded', 'like', pattern), eb('registrations.client_id', 'like', pattern)])
    )
  }
  if (after !== undefined) {
    const operator = sql.raw(descending ? '<' : '>')
    const value = sort === 'lastUsedAt' ? sql`coalesce(${after.value}::timestamptz, '-infinity')` : sql`${after.value}`
    query = query.where(sql<boolean>`(${column}, registrations.client_id) ${operator} (${value}, ${after.clientId})`)
  }
  return query.execute()
}

/** Never used sorts before every use. */
const SORT_COLUMNS: Record<SortKey, RawBuilder<string | boolean | Date>> = {
  name: sql.ref('name_folded'),
  clientId: sql.ref('registrations.client_id'),
  registeredAt: sql.ref('registered_at'),
  expiresAt: sql.ref('expires_at'),
  enabled: sql.ref('enabled'),
  lastUsedAt: sql`coalesce(last_used_at, '-infinity')`
}

/**
 * Counts the registrations of a Site for the quota, and holds back other creates there until the transaction ends.
 */
export async function countForQuota(trx: Transaction<Database>, siteId: string): Promise<number> {
  await sql`select pg_advisory_xact_lock(hashtextextended(${`registrations of ${siteId}`}, 0))`.execute(trx)
  const { count } = await trx
    .selectFrom('registrations')
    .select(eb => eb.cast<number>(eb.fn.countAll(), 'integer').as('count'))
    .where('site_id', '=', siteId) // served by registrations_site_id_name_folded
    .executeTakeFirstOrThrow()
  return count
}

export async function insertRegistration(trx: Transaction<Database>, row: RegistrationTable): Promise<void> {
  await trx.insertInto('registrations').values(row).execute()
}

export type RegistrationChange = Partial<
  Pick<RegistrationTable, 'name' | 'name_folded' | 'enabled' | 'expires_at' | 'expiry_set_at' | 'scopes'>
>

/** Changes these columns and counts the version up. */
export async function updateRegistration(
  trx: Transaction<Database>,
  clientId: string,
  change: RegistrationChange
): Promise<void> {
  await trx
    .updateTable('registrations')
    .set(eb => ({ ...change, version: eb('version', '+', 1) }))
    .where('client_id', '=', clientId) // served by registrations_pkey
    .execute()
}

export async function deleteRegistration(trx: Transaction<Database>, clientId: string): Promise<void> {
  await trx
    .deleteFrom('registrations')
    .where('client_id', '=', clientId) // served by registrations_pkey
    .execute()
}

function registrations(
  db: Kysely<Database>
): SelectQueryBuilder<Database, 'registrations' | 'registration_last_used', Registration> {
  return db
    .selectFrom('registrations')
    .leftJoin('registration_last_used', 'registration_last_used.client_id', 'registrations.client_id')
    .select([
      'registrations.client_id',
      'site_id',
      'name',
      'scopes',
      'enabled',
      'registered_at',
      'expires_at',
      'version',
      'last_used_at'
    ])
}
