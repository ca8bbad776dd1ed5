import { setTimeout as sleep } from 'node:timers/promises'
import type { Kysely } from 'kysely'
import type { Batcher } from '../concurrency/batcher.ts'
import type { Database } from '../database/schema.ts'
import { recordUses } from './repository.ts'
import type { Use } from './use.ts'
import { createUseWriter } from './use-writer.ts'

const RETRY_PAUSE_MS = 500

/** Callbacks about writing, for metrics. */
export interface LastUsedWatch {
  /** Called once, with a function that counts the uses that are not written yet. */
  waiting: (count: () => number) => void
  /** Called for each write that failed and will be retried. */
  failed: () => void
}

interface UseRecorderOptions {
  db: Kysely<Database>
  watch?: LastUsedWatch
  log: {
    warn: (message: string) => void
    error: (fields: object, message: string) => void
  }
}

/**
 * Makes the part that records uses until they are written. Its log has one line when trouble begins and one when it ends.
 *
 * A write whose outcome is unknown, because the connection was lost, is retried: Last used is exact then, and the number of
 * exchanges may be too high by those of that write.
 */
export function createUseRecorder({ db, watch, log }: UseRecorderOptions): Batcher<Use, void> {
  let isInTrouble = false
  const recorder = createUseWriter({
    write: uses => recordUses(db, uses),
    pause: () => sleep(RETRY_PAUSE_MS, undefined, { ref: false }),
    onError: error => {
      watch?.failed()
      if (!isInTrouble) log.error({ err: error }, 'Last used could not be written and will be retried')
      isInTrouble = true
    },
    onWritten: () => {
      if (isInTrouble) log.warn('Last used is written again')
      isInTrouble = false
    }
  })
  watch?.waiting(() => recorder.waiting)
  return recorder
}
