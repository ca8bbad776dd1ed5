import { type Kysely, sql, type Transaction } from 'kysely'
import type { Database, SigningKeyTable } from '../database/schema.ts'

/** All keys, the newest first. A handful of rows. */
export function listSigningKeys(db: Kysely<Database>): Promise<SigningKeyTable[]> {
  return db
    .selectFrom('signing_keys')
    .select(['kid', 'algorithm', 'public_jwk', 'private_jwe', 'created_at'])
    .orderBy('created_at', 'desc')
    .orderBy('kid')
    .execute()
}

/** Keeps this key unless there is one of its algorithm, whoever made it. */
export async function insertFirstKey(trx: Transaction<Database>, row: SigningKeyTable): Promise<void> {
  await sql`select pg_advisory_xact_lock(hashtextextended('first signing key', 0))`.execute(trx)
  const existing = await trx
    .selectFrom('signing_keys')
    .select('kid')
    .where('algorithm', '=', row.algorithm)
    .executeTakeFirst()
  if (existing !== undefined) return
  await trx.insertInto('signing_keys').values(row).execute()
}
