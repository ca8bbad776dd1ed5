import { sql, type Transaction } from 'kysely'
import type { Database } from './schema.ts'

/** Waits for the lock of this name, and holds it until the transaction ends. */
export async function lockUntilCommit(trx: Transaction<Database>, name: string): Promise<void> {
  await sql`select pg_advisory_xact_lock(hashtextextended(${name}, 0))`.execute(trx)
}
