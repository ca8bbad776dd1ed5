import type { FastifyInstance } from 'fastify'
import type { Kysely } from 'kysely'
import type { Database } from '../../database/schema.ts'
import { deleteExpiredCreates } from './repository.ts'

/** What has expired is not used; it lies in the table for so much longer at most. */
const PURGE_INTERVAL_MS = 15_000
/** A statement deletes at most so many. */
const BATCH_ROWS = 1_000

interface PurgeNeeds {
  db: Kysely<Database>
  /** Milliseconds since the epoch. */
  now: () => number
  /** Between two looks. */
  intervalMs?: number
}

/** Deletes sealed creates once they have expired, now and then, on every instance. */
export async function purgeOfSealedCreates(
  app: FastifyInstance,
  { db, now, intervalMs = PURGE_INTERVAL_MS }: PurgeNeeds
): Promise<void> {
  let purging = Promise.resolve()
  const purge = async (): Promise<void> => {
    try {
      while ((await deleteExpiredCreates(db, now(), BATCH_ROWS)) === BATCH_ROWS);
    } catch (error) {
      app.log.warn({ err: error }, 'expired idempotent creates could not be deleted; trying again')
    }
  }
  const timer = setInterval(() => {
    purging = purging.then(purge)
  }, intervalMs).unref()
  app.addHook('onClose', async () => {
    clearInterval(timer)
    await purging
  })
}
