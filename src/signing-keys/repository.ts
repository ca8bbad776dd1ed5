import { type Insertable, type Kysely, type Selectable, sql, type Transaction } from 'kysely'
import type { Database, SigningKeyTable } from '../database/schema.ts'

export type SigningKeyRow = Omit<Selectable<SigningKeyTable>, 'proof_hash'>
export type NewSigningKey = Insertable<SigningKeyTable>

/** Reads all keys, a handful of rows. */
export function listSigningKeys(db: Kysely<Database>): Promise<SigningKeyRow[]> {
  return db
    .selectFrom('signing_keys')
    .select(['kid', 'algorithm', 'public_jwk', 'private_jwe', 'created_at', 'generation', 'signs_from', 'signs_until'])
    .execute()
}

/** Reads the clock of the database. */
export async function databaseTime(db: Kysely<Database>): Promise<Date> {
  const { at } = await db.selectNoFrom(sql<Date>`clock_timestamp()`.as('at')).executeTakeFirstOrThrow()
  return at
}

/**
 * Adds the next key. The function of the database checks its place, the proof and the age of the decision.
 *
 * @param proof of the key of the generation before; none for the first key
 * @param decidedAt `databaseTime` before the keys were read that this one follows
 * @returns false when another instance was first, or when the decision is too old
 * @throws DatabaseError 42501 when the proof is wrong
 */
export async function addSigningKey(
  db: Kysely<Database>,
  row: NewSigningKey,
  proof: Buffer | undefined,
  decidedAt: Date
): Promise<boolean> {
  const { rows } = await sql<{ is_added: boolean }>`select add_signing_key(
    ${row.kid}, ${row.algorithm}, ${JSON.stringify(row.public_jwk)}, ${row.private_jwe}, ${row.proof_hash}, ${row.created_at},
    ${row.generation}, ${row.signs_from}, ${row.signs_until}, ${proof ?? null}, ${decidedAt}
  ) as is_added`.execute(db)
  return rows[0]?.is_added === true
}

/** Replaces the encryption of a private key. @returns false when another instance was first, or the proof is wrong */
export async function reencryptSigningKey(
  db: Kysely<Database>,
  kid: string,
  { private_jwe: encrypted, proof_hash: proofHash }: Pick<NewSigningKey, 'private_jwe' | 'proof_hash'>,
  proof: Buffer
): Promise<boolean> {
  const { rows } = await sql<{
    is_done: boolean
  }>`select reencrypt_signing_key(${kid}, ${encrypted}, ${proofHash}, ${proof}) as is_done`.execute(db)
  return rows[0]?.is_done === true
}

/** Destroys the private keys that the database finds retired. @returns their `kid`s */
export async function destroyRetiredKeys(db: Kysely<Database>, now: number): Promise<string[]> {
  const { rows } = await sql<{
    kid: string
  }>`select kid from destroy_retired_signing_keys(${new Date(now)}) as retired(kid)`.execute(db)
  return rows.map(({ kid }) => kid)
}

/** Destroys every key. Only the owner of the schema may. @returns their `kid`s */
export async function destroyAllKeys(db: Kysely<Database>): Promise<string[]> {
  const rows = await db.deleteFrom('signing_keys').returning('kid').execute()
  return rows.map(row => row.kid)
}

/** Keeps every instance from changing keys until the transaction ends. Reading goes on. Only the owner may. */
export async function lockSigningKeys(trx: Transaction<Database>): Promise<void> {
  await sql`lock table signing_keys in share row exclusive mode`.execute(trx)
}
