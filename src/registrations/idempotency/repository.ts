import type { Kysely, Transaction } from 'kysely'
import type { Database, IdempotentCreateTable } from '../../database/schema.ts'

/** What was sealed under this digest and has not expired. */
export async function findSealedCreate(db: Kysely<Database>, digest: Buffer, now: number): Promise<Buffer | undefined> {
  const row = await db
    .selectFrom('idempotent_creates')
    .select('sealed')
    .where('key_digest', '=', digest) // served by idempotent_creates_pkey
    .where('expires_at', '>', new Date(now))
    .executeTakeFirst()
  return row?.sealed
}

/**
 * Keeps this unless there is one of its digest that has not expired. Of two at once, the second waits for the end
 * of the first one's transaction.
 *
 * @returns whether it is the first
 */
export async function insertSealedCreate(
  trx: Transaction<Database>,
  row: IdempotentCreateTable,
  now: number
): Promise<boolean> {
  const inserted = await trx
    .insertInto('idempotent_creates')
    .values(row)
    .onConflict(conflict =>
      conflict
        .column('key_digest')
        .doUpdateSet(eb => ({ sealed: eb.ref('excluded.sealed'), expires_at: eb.ref('excluded.expires_at') }))
        .where('idempotent_creates.expires_at', '<=', new Date(now))
    )
    .returning('key_digest')
    .execute()
  return inserted.length > 0
}

/** Deletes what has expired, at most `limit` rows. @returns how many */
export async function deleteExpiredCreates(db: Kysely<Database>, now: number, limit: number): Promise<number> {
  const { numDeletedRows } = await db
    .deleteFrom('idempotent_creates')
    .where('key_digest', 'in', eb =>
      eb
        .selectFrom('idempotent_creates')
        .select('key_digest')
        .where('expires_at', '<=', new Date(now)) // served by idempotent_creates_expires_at
        .limit(limit)
        // Those that another instance is at are in good hands.
        .forUpdate()
        .skipLocked()
    )
    .executeTakeFirstOrThrow()
  return Number(numDeletedRows)
}
