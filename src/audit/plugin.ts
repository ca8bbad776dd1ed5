import type { FastifyInstance } from 'fastify'
import type { Kysely } from 'kysely'
import { repeat } from '../concurrency/repeat.ts'
import type { Database } from '../database/schema.ts'
import { HOUR_MS, MINUTE_MS } from '../time.ts'
import { pruneChains } from './prune.ts'

interface RetentionOptions {
  db: Kysely<Database>
  /** 0 keeps events forever. */
  retentionDays: number
  /** Milliseconds. */
  intervalMs?: number
  firstAfterMs?: number
}

/** Deletes audit events that are older than the retention, in the background, on every instance. */
export async function auditRetention(
  app: FastifyInstance,
  { db, retentionDays, intervalMs = 6 * HOUR_MS, firstAfterMs = 10 * MINUTE_MS }: RetentionOptions
): Promise<void> {
  if (retentionDays === 0) return
  const retention = repeat({
    name: 'audit retention',
    everyMs: intervalMs,
    firstAfterMs,
    // Instances that start together take turns: the first one finds most of the work.
    jitter: 0.5,
    log: app.log,
    work: async () => {
      const deleted = await pruneChains(db, retentionDays)
      if (deleted > 0)
        app.log.info({ deleted, retentionDays }, 'deleted audit events that are older than the retention')
    }
  })
  app.addHook('onReady', async () => retention.start())
  app.addHook('onClose', () => retention.stop())
}
