import type { FastifyInstance } from 'fastify'
import type { Kysely } from 'kysely'
import { repeat } from '../../concurrency/repeat.ts'
import type { Database } from '../../database/schema.ts'
import { SECOND_MS } from '../../time.ts'
import { deleteEndedRevocations } from './repository.ts'

/** The revocation of a token that has expired stays in the table for at most this much longer. */
const PURGE_INTERVAL_MS = 15 * SECOND_MS
/** Maximum number of rows that one statement deletes. */
const BATCH_ROWS = 1_000

/** Deletes revocations of expired tokens in the background, on every instance. */
export async function revocationPurge(
  app: FastifyInstance,
  { db, intervalMs = PURGE_INTERVAL_MS }: { db: Kysely<Database>; intervalMs?: number }
): Promise<void> {
  const purge = repeat({
    name: 'purge of token revocations',
    everyMs: intervalMs,
    log: app.log,
    work: async () => {
      while ((await deleteEndedRevocations(db, BATCH_ROWS)) === BATCH_ROWS);
    }
  })
  app.addHook('onReady', async () => purge.start())
  app.addHook('onClose', () => purge.stop())
}
