import type { Kysely, Transaction } from 'kysely'
import { lockUntilCommit } from '../../database/advisory-lock.ts'
import type { Database, IdempotentAnswerTable } from '../../database/schema.ts'

/** Finds the answer that is stored under this digest and has not expired. @param now milliseconds since the epoch */
export async function findSealedAnswer(db: Kysely<Database>, digest: Buffer, now: number): Promise<Buffer | undefined> {
  const row = await db
    .selectFrom('idempotent_answers')
    .select('sealed')
    .where('key_digest', '=', digest) // Index: idempotent_answers_pkey
    .where('expires_at', '>', new Date(now))
    .executeTakeFirst()
  return row?.sealed
}

/** Waits for other requests with this Idempotency-Key, and holds them back until the transaction ends. */
export async function lockRetryKey(trx: Transaction<Database>, digests: readonly Buffer[]): Promise<void> {
  // In one order on every instance, so that two of them do not wait for each other.
  const names = digests.map(digest => digest.toString('hex')).sort()
  for (const name of names) await lockUntilCommit(trx, `Idempotency-Key ${name}`)
}

/** Stores an answer in place of an expired one. Call it with the lock of the key. */
export async function insertSealedAnswer(trx: Transaction<Database>, row: IdempotentAnswerTable): Promise<void> {
  await trx
    .insertInto('idempotent_answers')
    .values(row)
    .onConflict(conflict =>
      conflict
        .column('key_digest')
        .doUpdateSet(eb => ({ sealed: eb.ref('excluded.sealed'), expires_at: eb.ref('excluded.expires_at') }))
    )
    .execute()
}

/** Deletes expired answers, at most `limit` rows. @returns how many */
export async function deleteExpiredAnswers(db: Kysely<Database>, now: number, limit: number): Promise<number> {
  const { numDeletedRows } = await db
    .deleteFrom('idempotent_answers')
    .where('key_digest', 'in', eb =>
      eb
        .selectFrom('idempotent_answers')
        .select('key_digest')
        .where('expires_at', '<=', new Date(now)) // Index: idempotent_answers_expires_at
        .limit(limit)
        // Another instance is deleting the locked ones.
        .forUpdate()
        .skipLocked()
    )
    .executeTakeFirstOrThrow()
  return Number(numDeletedRows)
}
