import { type Insertable, type Kysely, type Selectable, sql } from 'kysely'
import type { Database, SigningKeyTable } from '../database/schema.ts'

export type SigningKeyRow = Selectable<SigningKeyTable>
export type NewSigningKey = Insertable<SigningKeyTable>

/** All keys. A handful of rows. */
export function listSigningKeys(db: Kysely<Database>): Promise<SigningKeyRow[]> {
  return db
    .selectFrom('signing_keys')
    .select(['kid', 'algorithm', 'public_jwk', 'private_jwe', 'created_at', 'generation', 'signs_from', 'signs_until'])
    .execute()
}

/** What the database's own clock says. */
export async function databaseTime(db: Kysely<Database>): Promise<Date> {
  const { at } = await db.selectNoFrom(sql<Date>`clock_timestamp()`.as('at')).executeTakeFirstOrThrow()
  return at
}

/** A key that gets into the database later than this after its time was decided would not be published long enough. */
const DECISION_HOLDS = sql`interval '60 seconds'`

/**
 * Adds a key unless another instance has made one of this generation, or the decision is too old: a process may have
 * been stopped, a statement held up in the network.
 *
 * @param decidedAt `databaseTime` before the keys were read that this one follows
 * @returns whether it was added
 */
export async function insertSigningKey(db: Kysely<Database>, row: NewSigningKey, decidedAt: Date): Promise<boolean> {
  const { numInsertedOrUpdatedRows = 0n } = await db
    .insertInto('signing_keys')
    .columns(['kid', 'algorithm', 'public_jwk', 'private_jwe', 'created_at', 'generation', 'signs_from', 'signs_until'])
    .expression(
      db
        .selectNoFrom([
          sql`${row.kid}::text`.as('kid'),
          sql`${row.algorithm}::text`.as('algorithm'),
          sql`${JSON.stringify(row.public_jwk)}::jsonb`.as('public_jwk'),
          sql`${row.private_jwe}::text`.as('private_jwe'),
          sql`${row.created_at}::timestamptz`.as('created_at'),
          sql`${row.generation}::integer`.as('generation'),
          sql`${row.signs_from}::timestamptz`.as('signs_from'),
          sql`${row.signs_until}::timestamptz`.as('signs_until')
        ])
        .where(sql<boolean>`clock_timestamp() < ${decidedAt}::timestamptz + ${DECISION_HOLDS}`)
    )
    .onConflict(conflict => conflict.doNothing()) // signing_keys_generation_key
    .executeTakeFirstOrThrow()
  return numInsertedOrUpdatedRows > 0n
}

/** Puts the same private key under another seal, unless somebody else has meanwhile. @returns whether it was done */
export async function replaceSeal(db: Kysely<Database>, kid: string, from: string, to: string): Promise<boolean> {
  const { numUpdatedRows } = await db
    .updateTable('signing_keys')
    .set({ private_jwe: to })
    .where('kid', '=', kid) // served by signing_keys_pkey
    .where('private_jwe', '=', from)
    .executeTakeFirstOrThrow()
  return numUpdatedRows > 0n
}

/** Destroys the private keys whose time is over, by the database's own rule. @returns their kids */
export async function destroyRetiredKeys(db: Kysely<Database>, now: number): Promise<string[]> {
  const { rows } = await sql<{
    kid: string
  }>`select kid from destroy_retired_signing_keys(${new Date(now)}) as retired(kid)`.execute(db)
  return rows.map(({ kid }) => kid)
}

/** Destroys every key but this one. Needs more than the serving role. @returns their kids */
export async function destroyOtherKeys(db: Kysely<Database>, kid: string): Promise<string[]> {
  const rows = await db.deleteFrom('signing_keys').where('kid', '<>', kid).returning('kid').execute()
  return rows.map(row => row.kid)
}
