import { type Kysely, sql } from 'kysely'
import { type Credential, SECRET } from '../../credentials/credential.ts'
import type { NewSecretMac } from '../../credentials/secret-mac.ts'
import type { Database, RegistrationTable } from '../../database/schema.ts'
import { statement } from '../../database/statement.ts'
import { tokensValidInMs } from '../token-revocation/repository.ts'

/**
 * A row of the look-up of clients. For an unknown client id it is a decoy, which is not registered. Without a previous
 * credential, that credential is a secret that expired long ago and that nothing matches. The columns of a secret match
 * nothing either when the credential is of another kind. So every row takes as long to find, send and parse.
 */
export interface ClientRow
  extends NonNullableMembers<Pick<RegistrationTable, Exclude<ClientColumn, CredentialColumn>>> {
  client_id: string
  is_registered: boolean
  /** Whether the secret has no digest yet, because release 0.2.0 has made it. */
  lacks_digest: boolean
  previous_lacks_digest: boolean
  /** Time until `tokens_valid_from` when the row was read, milliseconds: 0 when it had come, at most a second. */
  tokens_valid_in_ms: number
  credential: Credential
  previous_credential: Credential
}

type ClientColumn = (typeof CLIENT_COLUMNS)[number]
type CredentialColumn = 'credential' | 'previous_credential'
type NonNullableMembers<Row> = { [Column in keyof Row]: NonNullable<Row[Column]> }

const CLIENT_COLUMNS = [
  'site_id',
  'credential',
  'secret_mac',
  'secret_mac_key_id',
  'credential_number',
  'previous_credential',
  'previous_secret_mac',
  'previous_secret_mac_key_id',
  'previous_secret_expires_at',
  'scopes',
  'audiences',
  'token_lifetime_seconds',
  'dpop_bound',
  'may_introspect',
  'tokens_valid_from',
  'enabled',
  'expires_at',
  'version'
] as const

/** In place of the id of a MAC key, where there is no MAC. */
export const NO_MAC_KEY = '00000000-0000-0000-0000-000000000000'

/** In place of a lifetime of tokens, where the registration has none of its own: the largest integer of Postgres. */
const NO_LIFETIME = 2_147_483_647

/** Stands in for a missing instant. It has milliseconds, as real ones have, so that it takes as long to parse. */
export const LONG_AGO = new Date('2000-01-01T00:00:00.123Z')
const LONG_AGO_SQL = `'${LONG_AGO.toISOString()}'::timestamptz`

/** A secret in the form of its column, which is null for one. */
const SECRET_JSON = `'${JSON.stringify({
  ...SECRET,
  // As long as a key on P-256, so that a client with such a key takes no longer to send and parse.
  ...{ keyId: '-'.repeat(43), alg: 'ES256', jwk: { x: '-'.repeat(43), y: '-'.repeat(43), crv: 'P-256', kty: 'EC' } }
})}'::jsonb`

/** Values, in SQL, of a previous secret that there is not, and of a decoy when there is no client at all. */
const DECOY: Record<ClientColumn, string> = {
  site_id: `'none'`,
  credential: SECRET_JSON,
  secret_mac: `decode(repeat('00', 32), 'hex')`,
  secret_mac_key_id: `'${NO_MAC_KEY}'`,
  credential_number: '1',
  previous_credential: SECRET_JSON,
  previous_secret_mac: `decode(repeat('00', 32), 'hex')`,
  previous_secret_mac_key_id: `'${NO_MAC_KEY}'`,
  previous_secret_expires_at: LONG_AGO_SQL,
  scopes: `'{}'::text[]`,
  audiences: `'{}'::text[]`,
  token_lifetime_seconds: String(NO_LIFETIME),
  dpop_bound: 'false',
  may_introspect: 'false',
  tokens_valid_from: LONG_AGO_SQL,
  enabled: 'true',
  expires_at: LONG_AGO_SQL,
  version: '1'
}

/** A decoy like those of the look-up, for a client that is not in a cache. */
export const DECOY_ROW: ClientRow = {
  client_id: 'none',
  is_registered: false,
  lacks_digest: false,
  previous_lacks_digest: false,
  site_id: 'none',
  credential: SECRET,
  secret_mac: Buffer.alloc(32),
  secret_mac_key_id: NO_MAC_KEY,
  credential_number: 1,
  previous_credential: SECRET,
  previous_secret_mac: Buffer.alloc(32),
  previous_secret_mac_key_id: NO_MAC_KEY,
  previous_secret_expires_at: LONG_AGO,
  scopes: [],
  audiences: [],
  token_lifetime_seconds: NO_LIFETIME,
  dpop_bound: false,
  may_introspect: false,
  tokens_valid_from: LONG_AGO,
  tokens_valid_in_ms: 0,
  enabled: true,
  expires_at: LONG_AGO,
  version: 0
}

/**
 * Looks up clients in one statement. Returns a row for each id, in their order.
 *
 * The decoy of an unknown id has the columns of another client, so that Postgres finds one row and misses one for every
 * id. It is not registered, and a MAC of another client matches no secret.
 */
export const findClients = statement((db, clientIds: readonly string[]) =>
  db
    .selectFrom(
      sql<{ client_id: string; place: number }>`unnest(${clientIds}::text[]) with ordinality`.as<'wanted'>(
        sql`wanted(client_id, place)`
      )
    )
    .crossJoin(
      db
        .selectFrom('registrations') // Index: registrations_pkey
        .select(eb => eb.fn.min('client_id').as('client_id'))
        .as('first')
    )
    .leftJoin('registrations', 'registrations.client_id', 'wanted.client_id') // Index: registrations_pkey
    .leftJoin('registrations as decoy', join =>
      join.on(
        'decoy.client_id', // Index: registrations_pkey
        '=',
        sql<string>`case when registrations.client_id is null then first.client_id else '' end`
      )
    )
    .select([
      'wanted.client_id',
      sql<boolean>`registrations.client_id is not null`.as('is_registered'),
      lacksDigest('secret').as('lacks_digest'),
      lacksDigest('previous_secret').as('previous_lacks_digest'),
      tokensValidInMs('now()'),
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

function orDecoy(column: ClientColumn) {
  const own = sql.ref(`registrations.${column}`)
  // A key of another client would take longer to parse than the secret of most clients.
  const isCredential = column === 'credential' || column === 'previous_credential'
  const other = isCredential ? sql`null` : sql.ref(`decoy.${column}`)
  return sql`coalesce(${own}, ${other}, ${sql.raw(DECOY[column])})`.as(column)
}

function lacksDigest(column: 'secret' | 'previous_secret') {
  const [own, other] = [sql.ref(`registrations.${column}_digest`), sql.ref(`decoy.${column}_digest`)]
  return sql<boolean>`coalesce(${own}, ${other}) is null`
}

/** Finds the clients whose registration still has the version at the same place of the other list. */
export const findUnchanged = statement((db, clientIds: readonly string[], versions: readonly number[]) =>
  db
    .selectFrom(
      sql<{ client_id: string; version: number }>`unnest(${clientIds}::text[], ${versions}::integer[])`.as<'candidate'>(
        sql`candidate(client_id, version)`
      )
    )
    .innerJoin('registrations', join =>
      join
        .onRef('registrations.client_id', '=', 'candidate.client_id') // Index: registrations_pkey
        .onRef('registrations.version', '=', 'candidate.version')
    )
    .select(['registrations.client_id', 'registrations.version'])
)

/**
 * Replaces the MAC and the digest of a secret whose MAC key is lost. It is no administrative change: the version stays. Does nothing
 * when the secret was changed or its MAC replaced meanwhile.
 */
export async function replaceLostMac(
  db: Kysely<Database>,
  clientId: string,
  column: 'secret' | 'previous_secret',
  lost: { hash: string; keyId: string },
  { mac, keyId, digest }: NewSecretMac
): Promise<void> {
  const columns =
    column === 'secret'
      ? { secret_mac: mac, secret_mac_key_id: keyId, secret_digest: digest }
      : { previous_secret_mac: mac, previous_secret_mac_key_id: keyId, previous_secret_digest: digest }
  await db
    .updateTable('registrations')
    .set(columns)
    .where('client_id', '=', clientId) // Index: registrations_pkey
    .where(`${column}_hash`, '=', lost.hash)
    .where(`${column}_mac_key_id`, '=', lost.keyId)
    .execute()
}

/** A secret that has no digest yet. Its MAC tells it from another secret of the client. */
export interface MissingDigest {
  clientId: string
  mac: Buffer
  digest: Buffer
}

/**
 * Adds digests to secrets that release 0.2.0 has made. It is no administrative change: the version stays. A registration
 * that is being changed is left out, so that nobody waits. Its next look-up tries again.
 */
export async function addMissingDigests(db: Kysely<Database>, missing: readonly MissingDigest[]): Promise<void> {
  const clientIds = missing.map(({ clientId }) => clientId)
  const macs = missing.map(({ mac }) => mac.toString('hex'))
  const digests = missing.map(({ digest }) => digest.toString('hex'))
  await sql`
    with missing as (
      select r.client_id, m.mac, m.digest
      from unnest(${clientIds}::text[], ${macs}::text[], ${digests}::text[]) as given (client_id, mac, digest)
      cross join lateral (select decode(given.mac, 'hex') as mac, decode(given.digest, 'hex') as digest) m
      join registrations r on r.client_id = given.client_id -- Index: registrations_pkey
      order by r.client_id
      for no key update of r skip locked
    )
    update registrations r set
      secret_digest = case when r.secret_mac = missing.mac then missing.digest else r.secret_digest end,
      previous_secret_digest =
        case when r.previous_secret_mac = missing.mac then missing.digest else r.previous_secret_digest end
    from missing
    where r.client_id = missing.client_id`.execute(db)
}
