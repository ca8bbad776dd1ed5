import {
  type Kysely,
  type Nullable,
  type QueryCreator,
  type RawBuilder,
  type SelectQueryBuilder,
  sql,
  type Transaction
} from 'kysely'
import type { Site } from '../admin-api/site.ts'
import type { SecretMac } from '../credentials/secret-mac.ts'
import type { Database, RegistrationLastUsedTable, RegistrationTable } from '../database/schema.ts'
import { HOUR_MS } from '../time.ts'
import { expiryRange, REGISTRATION_STATES, type RegistrationState } from './lifecycle.ts'

/** A registration without anything that proves a credential, and its Last used. */
export type Registration = RegistrationColumns & LastUse

export type RegistrationColumns = Omit<RegistrationTable, SecretColumn>

/** Columns that prove a secret. Administrators never see them. */
type SecretColumn =
  | 'secret_hash'
  | 'secret_mac'
  | 'secret_mac_key_id'
  | 'previous_secret_hash'
  | 'previous_secret_mac'
  | 'previous_secret_mac_key_id'

type LastUse = Pick<
  Nullable<RegistrationLastUsedTable>,
  'last_used_at' | 'odd_credential_used_at' | 'even_credential_used_at'
>

/** A registration that has not obtained a token yet. */
export const NEVER_USED: LastUse = { last_used_at: null, odd_credential_used_at: null, even_credential_used_at: null }

export type SortKey = 'name' | 'clientId' | 'registeredAt' | 'expiresAt' | 'enabled' | 'lastUsedAt'

/** Value of the sort column in a row. The next page begins after it. */
export type SortValue = string | boolean | null

export interface Listing {
  /** Undefined for all Sites. */
  siteId: string | undefined
  sort: SortKey
  descending: boolean
  limit: number
  /** Continue after this row. */
  after: { value: SortValue; clientId: string } | undefined
  /** Part of the folded name or of the client id, without wildcards. */
  search: string | undefined
  enabled: boolean | undefined
  /** Expiry later than `after` and not later than `upTo`, in milliseconds since the epoch. */
  expiry: { after?: number; upTo?: number }
  /** Not used at or after this instant, in milliseconds since the epoch. Registrations that were never used count. */
  unusedSince: number | undefined
}

/** Checks that registrations can be read: that the database answers, and that none of its settings makes reads fail. */
export async function assertReadable(db: Kysely<Database>): Promise<void> {
  // Index: registrations_client_id_key. No registration has this id.
  await db.selectFrom('registrations').select('client_id').where('client_id', '=', '').execute()
}

/** Finds a registration of this Site. */
export function findRegistration({ db, siteId }: Site, clientId: string): Promise<Registration | undefined> {
  return registrations(db)
    .where('registrations.client_id', '=', clientId) // Index: registrations_pkey
    .where('site_id', '=', siteId)
    .executeTakeFirst()
}

/** Finds a registration and locks its row until the transaction ends. */
export function lockRegistration(
  trx: Transaction<Database>,
  siteId: string,
  clientId: string
): Promise<Registration | undefined> {
  return registrations(trx)
    .where('registrations.client_id', '=', clientId) // Index: registrations_pkey
    .where('site_id', '=', siteId)
    .forNoKeyUpdate('registrations')
    .executeTakeFirst()
}

/** Lists a page of registrations, in the order of the sort. */
export function listRegistrations(db: Kysely<Database>, listing: Listing): Promise<Registration[]> {
  const { siteId, sort, descending, limit, after, search, enabled, expiry, unusedSince } = listing
  const direction = descending ? 'desc' : 'asc'
  // Over all Sites, each sort and each filter has an index of its own. In a Site, its quota bounds the rows.
  let query = registrations(search === undefined ? db : withMatches(db, search, siteId)).limit(limit)
  const columns = SORT_COLUMNS[sort]
  for (const column of columns) query = query.orderBy(column, direction)
  if (siteId !== undefined) query = query.where('site_id', '=', siteId)
  if (enabled !== undefined) query = query.where('enabled', '=', enabled)
  if (expiry.after !== undefined) query = query.where('expires_at', '>', new Date(expiry.after))
  if (expiry.upTo !== undefined) query = query.where('expires_at', '<=', new Date(expiry.upTo))
  if (unusedSince !== undefined) {
    const since = new Date(unusedSince)
    query = query
      .where('last_used_hour', '<=', hourOf(since)) // Index: registration_last_used_last_used_hour
      .where(eb => eb.or([eb('last_used_at', 'is', null), eb('last_used_at', '<', since)]))
  }
  if (search !== undefined)
    query = query.where('registrations.client_id', 'in', sql<string>`(select client_id from matches)`)
  // Lets Postgres read the rows in the order of registration_last_used_last_used_hour.
  if (sort === 'lastUsedAt') query = query.where('registration_last_used.client_id', 'is not', null)
  if (after !== undefined) {
    // With "or equal", because Postgres estimates a comparison of rows by the first column only.
    const operator = sql.raw(descending ? '<=' : '>=')
    const position = [...positionIn(sort, after.value), sql`${after.clientId}`]
    query = query
      .where(sql<boolean>`(${sql.join(columns)}) ${operator} (${sql.join(position)})`)
      .where('registrations.client_id', '<>', after.clientId)
    // By itself, because "coalesce" in the comparison of rows keeps Postgres from using the index.
    if (sort === 'lastUsedAt') query = query.where(sql<boolean>`${columns[0]} ${operator} ${position[0]}`)
  }
  return query.execute()
}

const CLIENT_ID = sql.ref('registrations.client_id')

/** Columns that a sort orders by, and the index that has this order. Never used sorts before every use. */
const SORT_COLUMNS: Record<SortKey, readonly RawBuilder<unknown>[]> = {
  name: [sql.ref('name_folded'), CLIENT_ID], // registrations_name_folded, registrations_site_id_name_folded
  clientId: [CLIENT_ID], // registrations_pkey
  registeredAt: [sql.ref('registered_at'), CLIENT_ID], // registrations_registered_at
  expiresAt: [sql.ref('expires_at'), CLIENT_ID], // registrations_expires_at, registrations_site_id_expires_at
  enabled: [sql.ref('enabled'), CLIENT_ID], // registrations_enabled
  // registration_last_used_last_used_hour, and within an hour by sorting
  lastUsedAt: [
    sql.ref('last_used_hour'),
    sql`coalesce(last_used_at, '-infinity')`,
    sql.ref('registration_last_used.client_id')
  ]
}

/** Returns the values of the columns of a sort, in the row after which a page begins. */
function positionIn(sort: SortKey, value: SortValue): RawBuilder<unknown>[] {
  if (sort === 'clientId') return []
  if (sort !== 'lastUsedAt') return [sql`${value}`]
  if (value === null) return [sql`'-infinity'`, sql`'-infinity'`]
  return [sql`${hourOf(new Date(String(value)))}`, sql`${value}::timestamptz`]
}

function hourOf(instant: Date): Date {
  return new Date(Math.floor(instant.getTime() / HOUR_MS) * HOUR_MS)
}

/**
 * Adds the ids of registrations whose folded name or client id contains a text. They are found first and by themselves,
 * because then Postgres reads nothing but registrations_name_folded, or registrations_site_id_name_folded in a Site.
 */
function withMatches(db: Kysely<Database>, search: string, siteId: string | undefined): QueryCreator<Database> {
  const pattern = `%${search.replaceAll(/[\\%_]/g, '\\$&')}%`
  return db.with(
    cte => cte('matches').materialized(),
    qc => {
      const matches = qc
        .selectFrom('registrations')
        .select('client_id')
        .where(eb => eb.or([eb('name_folded', 'like', pattern), eb('client_id', 'like', pattern)]))
      return siteId === undefined ? matches : matches.where('site_id', '=', siteId)
    }
  )
}

/**
 * Counts the registrations of all Sites by their state.
 *
 * @param now milliseconds since the epoch
 */
export async function countByState(db: Kysely<Database>, now: number): Promise<Record<RegistrationState, number>> {
  return db
    .selectFrom('registrations') // Reads the whole of registrations_expires_at, or of the table when that is cheaper.
    .select(({ fn, cast }) =>
      REGISTRATION_STATES.map(state => {
        const { after, upTo } = expiryRange(state, now)
        let count = fn.countAll()
        if (after !== undefined) count = count.filterWhere('expires_at', '>', new Date(after))
        if (upTo !== undefined) count = count.filterWhere('expires_at', '<=', new Date(upTo))
        return cast<number>(count, 'integer').as(state)
      })
    )
    .executeTakeFirstOrThrow()
}

/** Counts the registrations of a Site. */
export async function countOfSite(db: Kysely<Database>, siteId: string): Promise<number> {
  const { count } = await db
    .selectFrom('registrations')
    .select(eb => eb.cast<number>(eb.fn.countAll(), 'integer').as('count'))
    .where('site_id', '=', siteId) // Index: registrations_site_id_name_folded
    .executeTakeFirstOrThrow()
  return count
}

/** Inserts a new registration with its first secret. */
export async function insertRegistration(
  trx: Transaction<Database>,
  columns: RegistrationColumns,
  { hash, mac }: { hash: string; mac: SecretMac }
): Promise<void> {
  await trx
    .insertInto('registrations')
    .values({
      ...columns,
      secret_hash: hash,
      secret_mac: mac.mac,
      secret_mac_key_id: mac.keyId,
      previous_secret_hash: null,
      previous_secret_mac: null,
      previous_secret_mac_key_id: null
    })
    .execute()
}

export type RegistrationChange = Partial<
  Pick<RegistrationTable, 'name' | 'name_folded' | 'enabled' | 'expires_at' | 'expiry_set_at' | 'scopes'>
>

/** Changes these columns and increments the version. */
export async function updateRegistration(
  trx: Transaction<Database>,
  clientId: string,
  change: RegistrationChange
): Promise<void> {
  await trx
    .updateTable('registrations')
    .set(eb => ({ ...change, version: eb('version', '+', 1) }))
    .where('client_id', '=', clientId) // Index: registrations_pkey
    .execute()
}

/** Deletes a registration, and its Last used with it. */
export async function deleteRegistration(trx: Transaction<Database>, clientId: string): Promise<void> {
  await trx
    .deleteFrom('registrations')
    .where('client_id', '=', clientId) // Index: registrations_pkey
    .execute()
}

/** Selects every column of `Registration`. */
function registrations(
  db: QueryCreator<Database>
): SelectQueryBuilder<Database, 'registrations' | 'registration_last_used', Registration> {
  return db
    .selectFrom('registrations')
    .leftJoin('registration_last_used', 'registration_last_used.client_id', 'registrations.client_id')
    .select([
      'registrations.client_id',
      'site_id',
      'name',
      'name_folded',
      'scopes',
      'enabled',
      'registered_at',
      'expires_at',
      'expiry_set_at',
      'version',
      'credential_number',
      'secret_created_at',
      'previous_secret_created_at',
      'previous_secret_expires_at',
      'last_used_at',
      'odd_credential_used_at',
      'even_credential_used_at'
    ])
}
