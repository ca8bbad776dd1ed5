import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import fastifyPlugin from 'fastify-plugin'
import type { Kysely } from 'kysely'
import { repeat } from '../../concurrency/repeat.ts'
import { within } from '../../concurrency/timeout.ts'
import type { Database } from '../../database/schema.ts'
import { onRequestEnd } from '../../http/request-end.ts'
import { sourceOf } from '../../http/source.ts'
import { DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS } from '../../time.ts'
import { RefusalRecorder } from './recorder.ts'
import type { Slot } from './refusal.ts'
import { clearOldRefusals, recordRefusals } from './repository.ts'

/** The least time between two writes of one instance. */
const WRITE_INTERVAL_MS = 10 * SECOND_MS
/** The addresses in refusals are personal data. */
export const RETENTION_DAYS = 30
const RETENTION_INTERVAL_MS = HOUR_MS
/** Maximum number of slots that one statement clears. */
const BATCH_ROWS = 1_000
/** The longest that closing waits for refusals that are not written yet. */
const CLOSE_TIMEOUT_MS = 2_000

interface RefusalRecordingOptions {
  db: Kysely<Database>
  /** Routes at which clients authenticate. */
  paths: readonly string[]
  /** Returns the slot of a refusal with this reason. Undefined when no registration has the client id. */
  slotOf: (reason: string) => Slot | undefined
  /** Workers of the instance. Together they write no more often than one instance may. */
  workers: number
  /** Milliseconds since the epoch. */
  now: () => number
  /** Time of the database, milliseconds since the epoch. */
  databaseNow: () => Promise<number>
  /** Milliseconds. */
  retentionIntervalMs?: number | undefined
}

/**
 * Records the refusals of clients for the diagnosis of a registration, after their answers have left. Nothing waits
 * for it, and without it everything else works.
 */
export const refusalRecording = fastifyPlugin(
  async (app: FastifyInstance, options: RefusalRecordingOptions): Promise<void> => {
    const { db, paths, slotOf, workers, now, databaseNow } = options
    const recorder = new RefusalRecorder({
      write: refusals => recordRefusals(db, refusals),
      pause: () => sleep(WRITE_INTERVAL_MS * workers, undefined, { ref: false }),
      log: app.log
    })
    onRequestEnd(app, request => {
      const { outcome, caller, routeOptions } = request
      if (outcome?.result !== 'refused' || !paths.includes(routeOptions.url ?? '')) return
      if (caller === undefined || !('clientId' in caller)) return
      const reason = outcome.failure ?? outcome.reason
      recorder.note(caller.clientId, slotOf(reason), { at: now(), reason, source: sourceOf(request), count: 1 })
    })
    const retention = repeat({
      name: 'retention of refusals',
      everyMs: options.retentionIntervalMs ?? RETENTION_INTERVAL_MS,
      firstAfterMs: options.retentionIntervalMs ?? MINUTE_MS,
      jitter: 0.5,
      log: app.log,
      work: async () => {
        const cutoff = (await databaseNow()) - RETENTION_DAYS * DAY_MS
        while (await clearOldRefusals(db, cutoff, BATCH_ROWS));
      }
    })
    app.addHook('onReady', async () => retention.start())
    app.addHook('onClose', async () => {
      await retention.stop()
      await within(CLOSE_TIMEOUT_MS, recorder.flush())
    })
  },
  { name: 'refusal-recording' }
)
