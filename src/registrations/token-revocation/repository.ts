import { type Kysely, sql, type Transaction } from 'kysely'
import type { Database, TokenRevocationTable } from '../../database/schema.ts'
import { SECOND_MS } from '../../time.ts'
import type { Registration } from '../repository.ts'

/** The cut-off of a registration: tokens that were issued before are not active. */
export interface CutOff extends Pick<Registration, 'version' | 'tokens_valid_from'> {
  /** Time until it comes by the clock of the database, milliseconds. */
  tokens_valid_in_ms: number
}

/**
 * Milliseconds from an instant of the database until the cut-off of a registration comes. It is a second at most, also when
 * the clock of the database was set back. In SQL, `greatest` and `least` ignore nulls.
 *
 * @param since `now()` for a row that is read: a statement sees what was committed when it began
 */
export function tokensValidInMs(since: 'now()' | 'clock_timestamp()') {
  return sql<number>`
    least(${sql.lit(SECOND_MS)}, greatest(0,
      ceil(1000 * date_part('epoch', registrations.tokens_valid_from - ${sql.raw(since)}))))::integer`.as(
    'tokens_valid_in_ms'
  )
}

/** Stops every token of a registration that was issued so far, and increments the version. */
export function moveCutOff(trx: Transaction<Database>, clientId: string): Promise<CutOff> {
  return trx
    .updateTable('registrations')
    .set(eb => ({
      tokens_valid_from: sql`next_token_cut_off(tokens_valid_from)`,
      version: eb('version', '+', 1)
    }))
    .where('client_id', '=', clientId) // Index: registrations_pkey
    .returning(['version', 'tokens_valid_from', tokensValidInMs('clock_timestamp()')])
    .executeTakeFirstOrThrow()
}

/** Inserts the revocation of one token, unless it is revoked already or has expired by the clock of the database. */
export async function insertRevocation(
  trx: Transaction<Database>,
  { client_id, jti, ends_at }: TokenRevocationTable
): Promise<void> {
  await sql`
    insert into token_revocations (client_id, jti, ends_at)
    select ${client_id}, ${jti}, ${ends_at}::timestamptz where ${ends_at}::timestamptz > clock_timestamp()
    on conflict do nothing -- Index: token_revocations_pkey`.execute(trx)
}

/** Counts the revoked tokens of a client that have not expired by the clock of the database. */
export async function countLiveRevocations(trx: Transaction<Database>, clientId: string): Promise<number> {
  const { count } = await trx
    .selectFrom('token_revocations')
    .select(eb => eb.cast<number>(eb.fn.countAll(), 'integer').as('count'))
    .where('client_id', '=', clientId) // Index: token_revocations_pkey
    .where('ends_at', '>', sql<Date>`clock_timestamp()`)
    .executeTakeFirstOrThrow()
  return count
}

/** Deletes the revocations of a client whose tokens a cut-off has stopped. */
export async function deleteRevocations(trx: Transaction<Database>, clientId: string): Promise<void> {
  await trx
    .deleteFrom('token_revocations')
    .where('client_id', '=', clientId) // Index: token_revocations_pkey
    .execute()
}

/**
 * Deletes revocations whose tokens have expired by the clock of the database, at most `limit` rows. A reader must judge
 * `exp` by the same clock, in the statement that reads revocations. Otherwise a token could come back on an instance whose
 * clock is behind.
 *
 * @returns how many
 */
export async function deleteEndedRevocations(db: Kysely<Database>, limit: number): Promise<number> {
  const { numDeletedRows } = await db
    .deleteFrom('token_revocations')
    .using(eb =>
      eb
        .selectFrom('token_revocations')
        .select(['client_id', 'jti'])
        .where('ends_at', '<=', sql<Date>`now()`) // Index: token_revocations_ends_at
        .limit(limit)
        // Another instance is deleting the locked ones.
        .forUpdate()
        .skipLocked()
        .as('ended')
    )
    .whereRef('token_revocations.client_id', '=', 'ended.client_id') // Index: token_revocations_pkey
    .whereRef('token_revocations.jti', '=', 'ended.jti')
    .executeTakeFirstOrThrow()
  return Number(numDeletedRows)
}
