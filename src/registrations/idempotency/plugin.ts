import type { FastifyInstance } from 'fastify'
import type { Kysely } from 'kysely'
import { repeat } from '../../concurrency/repeat.ts'
import type { Database } from '../../database/schema.ts'
import { SECOND_MS } from '../../time.ts'
import { deleteExpiredAnswers } from './repository.ts'

/** An expired answer is not used. It stays in the table for at most this much longer. */
const PURGE_INTERVAL_MS = 15 * SECOND_MS
/** Maximum number of rows that one statement deletes. */
const BATCH_ROWS = 1_000

interface PurgeOptions {
  db: Kysely<Database>
  /** Milliseconds since the epoch. */
  now: () => number
  intervalMs?: number
}

/** Deletes expired answers in the background, on every instance. */
export async function idempotentAnswerPurge(
  app: FastifyInstance,
  { db, now, intervalMs = PURGE_INTERVAL_MS }: PurgeOptions
): Promise<void> {
  const purge = repeat({
    name: 'purge of idempotent answers',
    everyMs: intervalMs,
    log: app.log,
    work: async () => {
      while ((await deleteExpiredAnswers(db, now(), BATCH_ROWS)) === BATCH_ROWS);
    }
  })
  app.addHook('onReady', async () => purge.start())
  app.addHook('onClose', () => purge.stop())
}
