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
import { statement } from '../database/statement.ts'
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

/**
 * A row of the look-up of clients. For an unknown client id it is a decoy, which is not registered and takes as long to
 * find, send and parse.
 */
export interface ClientRow extends Pick<RegistrationTable, (typeof CLIENT_COLUMNS)[number] | 'client_id'> {
  is_registered: boolean
}

const CLIENT_COLUMNS = [
  'site_id',
  'secret_mac',
  'secret_mac_key_id',
  'credential_number',
  'previous_secret_mac',
  'previous_secret_mac_key_id',
  'previous_secret_expires_at',
  'scopes',
  'enabled',
  'expires_at',
  'version'
] as const

/** Values of the decoy by column, in SQL. A column without one is null, as it is in most registrations. */
const DECOY: Partial<Record<(typeof CLIENT_COLUMNS)[number], string>> = {
  site_id: `'none'`,
  secret_mac: `decode(repeat('00', 32), 'hex')`,
  secret_mac_key_id: `'00000000-0000-0000-0000-000000000000'`,
  credential_number: '1',
  scopes: `'{}'::text[]`,
  enabled: 'true',
  expires_at: `'2000-01-01Z'::timestamptz`,
  version: '1'
}

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

/** Looks up clients in one statement. Returns a row for each id, in their order, so that unknown ids take as long as others. */
export const findClients = statement((db, clientIds: readonly string[]) =>
  db
    .selectFrom(
      sql<{ client_id: string; place: number }>`unnest(${clientIds}::text[]) with ordinality`.as<'wanted'>(
        sql`wanted(client_id, place)`
      )
    )
    .leftJoin('registrations', 'registrations.client_id', 'wanted.client_id') // Index: registrations_pkey
    .select([
      'wanted.client_id',
      sql<boolean>`registrations.client_id is not null`.as('is_registered'),
      ...CLIENT_COLUMNS.map(orDecoy)
    ])
    .orderBy('wanted.place')
    .$castTo<ClientRow>()
)

export type SecretHashes = Pick<
  RegistrationTable,
  'secret_hash' | 'secret_mac_key_id' | 'previous_secret_hash' | 'previous_secret_mac_key_id'
>

/** Finds the hashes of a client's secrets. Only for verifying a secret whose MAC key is lost. */
export function findSecretHashes(db: Kysely<Database>, clientId: string): Promise<SecretHashes | undefined> {
  return db
    .selectFrom('registrations')
    .select(['secret_hash', 'secret_mac_key_id', 'previous_secret_hash', 'previous_secret_mac_key_id'])
    .where('client_id', '=', clientId) // Index: registrations_pkey
    .executeTakeFirst()
}

function orDecoy(column: (typeof CLIENT_COLUMNS)[number]) {
  const decoy = DECOY[column]
  const value = sql.ref(`registrations.${column}`)
  return (decoy === undefined ? value : sql`coalesce(${value}, ${sql.raw(decoy)})`).as(column)
}

/** Those of these clients whose registration has the version at the same place of the other list. */
export const findUnchanged = statement((db, clientIds: readonly string[], versions: readonly number[]) =>
  db
    .selectFrom(
      sql<{ client_id: string; version: number }>`unnest(${clientIds}::text[], ${versions}::integer[])`.as<'asked'>(
        sql`asked(client_id, version)`
      )
    )
    .innerJoin('registrations', join =>
      join
        .onRef('registrations.client_id', '=', 'asked.client_id') // served by registrations_pkey
        .onRef('registrations.version', '=', 'asked.version')
    )
    .select(['registrations.client_id', 'registrations.version'])
)

export function findRegistration({ db, siteId }: Site, clientId: string): Promise<Registration | undefined> {
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
      .where('last_used_hour', '<=', hourOf(since)) // served by registration_last_used_last_used_hour
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

const HOUR_MS = 3_600_000

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
 * Counts all registrations by the state they are in, over all Sites.
 *
 * @param now milliseconds since the epoch
 */
export async function countByState(db: Kysely<Database>, now: number): Promise<Record<RegistrationState, number>> {
  return db
    .selectFrom('registrations') // every entry of registrations_expires_at, or of the table where that is cheaper
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
    .where('site_id', '=', siteId) // served by registrations_site_id_name_folded
    .executeTakeFirstOrThrow()
  return count
}

export async function insertRegistration(
  trx: Transaction<Database>,
  columns: RegistrationColumns,
  { hash, mac }: Pick<StoredSecret, 'hash' | 'mac'>
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

/** A secret as it is kept. */
export interface StoredSecret {
  hash: string
  mac: SecretMac
  createdAt: Date
}

/** Makes this the secret of a registration, and the one it had the previous one, which is refused from an instant on. */
export async function rotateSecret(
  trx: Transaction<Database>,
  clientId: string,
  secret: StoredSecret,
  previousExpiresAt: Date
): Promise<void> {
  await trx
    .updateTable('registrations')
    .set(({ ref, eb }) => ({
      ...columnsOf(secret),
      credential_number: eb('credential_number', '+', 1),
      previous_secret_hash: ref('secret_hash'),
      previous_secret_mac: ref('secret_mac'),
      previous_secret_mac_key_id: ref('secret_mac_key_id'),
      previous_secret_created_at: ref('secret_created_at'),
      previous_secret_expires_at: previousExpiresAt,
      version: eb('version', '+', 1)
    }))
    .where('client_id', '=', clientId) // served by registrations_pkey
    .execute()
}

/** Puts this secret in the place of the current one, and leaves the previous one, which is refused from an instant on. */
export async function replaceSecret(
  trx: Transaction<Database>,
  clientId: string,
  secret: StoredSecret,
  previousExpiresAt: Date
): Promise<void> {
  await trx
    .updateTable('registrations')
    .set(({ eb }) => ({
      ...columnsOf(secret),
      previous_secret_expires_at: previousExpiresAt,
      version: eb('version', '+', 1)
    }))
    .where('client_id', '=', clientId) // served by registrations_pkey
    .execute()
}

function columnsOf({ hash, mac, createdAt }: StoredSecret) {
  return { secret_hash: hash, secret_mac: mac.mac, secret_mac_key_id: mac.keyId, secret_created_at: createdAt }
}

/**
 * Replaces the MAC of a secret whose MAC key is lost. It is no administrative change: the version stays. Does nothing
 * when the secret was changed or its MAC replaced meanwhile.
 */
export async function replaceLostMac(
  db: Kysely<Database>,
  clientId: string,
  column: 'secret' | 'previous_secret',
  lost: { hash: string; keyId: string },
  { mac, keyId }: SecretMac
): Promise<void> {
  const columns =
    column === 'secret'
      ? { secret_mac: mac, secret_mac_key_id: keyId }
      : { previous_secret_mac: mac, previous_secret_mac_key_id: keyId }
  await db
    .updateTable('registrations')
    .set(columns)
    .where('client_id', '=', clientId) // Index: registrations_pkey
    .where(`${column}_hash`, '=', lost.hash)
    .where(`${column}_mac_key_id`, '=', lost.keyId)
    .execute()
}

/** Refuses the previous secret from this instant on. Its hash stays, so that its use is noticed. */
export async function retirePreviousSecret(trx: Transaction<Database>, clientId: string, at: Date): Promise<void> {
  await trx
    .updateTable('registrations')
    .set(({ eb }) => ({ previous_secret_expires_at: at, version: eb('version', '+', 1) }))
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
