import type { Kysely, Transaction } from 'kysely'
import type { Database } from '../database/schema.ts'
import { notFound } from '../http/problem.ts'
import { requireVersion } from './if-match.ts'

export interface LockOptions<Row> {
  /** Finds the row and locks it until the transaction ends. */
  lock: (trx: Transaction<Database>) => Promise<Row | undefined>
  /** The `If-Match` header. Undefined allows every version. */
  ifMatch?: string | undefined
}

/**
 * Changes one resource while its row is locked, in one transaction.
 *
 * @throws Problem 404; 412 when `ifMatch` names another version
 */
export function withLocked<Row extends object, Result>(
  db: Kysely<Database>,
  options: LockOptions<Row>,
  change: (trx: Transaction<Database>, row: Row) => Promise<Result>
): Promise<Result> {
  return db.transaction().execute(async trx => change(trx, await lockRow(trx, options)))
}

/**
 * Locks the row of one resource until the transaction ends.
 *
 * @throws Problem 404; 412 when `ifMatch` names another version
 */
export async function lockRow<Row extends object>(
  trx: Transaction<Database>,
  { lock, ifMatch }: LockOptions<Row>
): Promise<Row> {
  const row = await lock(trx)
  if (row === undefined) throw notFound()
  requireVersion(ifMatch, 'version' in row ? Number(row.version) : undefined)
  return row
}
