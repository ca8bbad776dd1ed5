import { type Kysely, type Nullable, type QueryCreator, type SelectQueryBuilder, sql, type Transaction } from 'kysely'
import type { Site } from '../admin-api/site.ts'
import type { Database, RegistrationLastUsedTable, RegistrationTable } from '../database/schema.ts'
import { expiryRange, REGISTRATION_STATES, type RegistrationState } from './lifecycle.ts'

/** A registration without anything that proves a credential, and its Last used. */
export type Registration = RegistrationColumns & LastUse & { exchange_count: number }

export type RegistrationColumns = Omit<RegistrationTable, SecretColumn>

/** Columns that prove a secret. Administrators never see them. */
type SecretColumn =
  | 'secret_hash'
  | 'secret_mac'
  | 'secret_mac_key_id'
  | 'secret_digest'
  | 'previous_secret_hash'
  | 'previous_secret_mac'
  | 'previous_secret_mac_key_id'
  | 'previous_secret_digest'

type LastUse = Pick<
  Nullable<RegistrationLastUsedTable>,
  'last_used_at' | 'odd_credential_used_at' | 'even_credential_used_at'
>

/** The columns of the current credential, whatever its kind. */
export type CurrentCredentialColumns = Pick<
  RegistrationTable,
  'credential' | 'secret_hash' | 'secret_mac' | 'secret_mac_key_id' | 'secret_digest'
>

/** A registration that has not obtained a token yet. */
export const NEVER_USED: LastUse & { exchange_count: number } = {
  ...{ last_used_at: null, odd_credential_used_at: null, even_credential_used_at: null },
  exchange_count: 0
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

/** Reads a registration as a change of this transaction has left it. @param before the row that the transaction has locked */
export async function rereadRegistration(trx: Transaction<Database>, before: Registration): Promise<Registration> {
  return (await lockRegistration(trx, before.site_id, before.client_id)) ?? before
}

/**
 * Locks the Last used of a registration until the transaction ends. It waits for an exchange that another instance is
 * committing, and returns what is committed then. Lock the registration first.
 */
export async function lockLastUse(trx: Transaction<Database>, clientId: string): Promise<LastUse> {
  const { rows } = await sql<LastUse>`
    select last_used_at, odd_credential_used_at, even_credential_used_at from lock_last_used(${clientId})`.execute(trx)
  return rows[0] ?? NEVER_USED
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

/** Inserts a new registration with its first credential. */
export async function insertRegistration(
  trx: Transaction<Database>,
  columns: RegistrationColumns & CurrentCredentialColumns
): Promise<void> {
  await trx
    .insertInto('registrations')
    .values({
      ...columns,
      previous_secret_hash: null,
      previous_secret_mac: null,
      previous_secret_mac_key_id: null
    })
    .execute()
}

export type RegistrationChange = Partial<
  Pick<
    RegistrationTable,
    | keyof CurrentCredentialColumns
    | 'secret_created_at'
    | 'previous_secret_expires_at'
    | 'name'
    | 'name_folded'
    | 'enabled'
    | 'disabled_reason'
    | 'may_idle'
    | 'enabled_at'
    | 'expires_at'
    | 'expiry_set_at'
    | 'scopes'
    | 'audiences'
    | 'token_lifetime_seconds'
    | 'dpop_bound'
    | 'may_introspect'
    | 'self_rotation'
  >
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
export function registrations(
  db: QueryCreator<Database>
): SelectQueryBuilder<Database, 'registrations' | 'registration_last_used', Registration> {
  return db
    .selectFrom('registrations')
    .leftJoin('registration_last_used', 'registration_last_used.client_id', 'registrations.client_id')
    .select([
      'registrations.client_id',
      'site_id',
      'key',
      'name',
      'name_folded',
      'scopes',
      'audiences',
      'token_lifetime_seconds',
      'dpop_bound',
      'may_introspect',
      'enabled',
      'tokens_valid_from',
      'self_rotation',
      'disabled_reason',
      'may_idle',
      'enabled_at',
      'unused_noticed_at',
      'registered_at',
      'expires_at',
      'expiry_set_at',
      'version',
      'credential_number',
      'unclaimed',
      'credential',
      'secret_created_at',
      'previous_credential',
      'previous_secret_created_at',
      'previous_secret_expires_at',
      'last_used_at',
      'odd_credential_used_at',
      'even_credential_used_at',
      // node-postgres reads a bigint as text.
      sql<number>`coalesce(exchange_count, 0)::float8`.as('exchange_count')
    ])
}
