import type { Kysely } from 'kysely'
import type { Database } from '../../database/schema.ts'
import { DAY_MS, HOUR_MS } from '../../time.ts'
import { type ExpiryRange, rangesToSweep, stepWindows } from '../cadence.ts'
import { createDueNotices, deleteOldNotices, type SweepCursor } from './repository.ts'

export interface SweepOptions {
  db: Kysely<Database>
  /** Days before expiry, in the order in which they come due. */
  steps: readonly number[]
  /** Kinds of the receivers that the configuration names. They get the notices of all Sites. */
  serviceKinds: readonly string[]
  /** Days to keep notices; 0 keeps them for ever. */
  retentionDays: number
  /** Time of the database, milliseconds since the epoch. An instance's own clock may be wrong. */
  databaseNow: () => Promise<number>
}

/** Registrations that one transaction looks at: some milliseconds of work. */
const BATCH_SIZE = 2_000
/** Notices that one statement deletes. */
const DELETE_BATCH_SIZE = 1_000
/** How often a sweep looks at everything, in case something was changed behind grantd's back. */
const FULL_SWEEP_INTERVAL_MS = HOUR_MS

/**
 * Creates the notices that have come due.
 *
 * The first sweep of a process looks at all expiries, and so finds what a downtime missed. Later sweeps look at the
 * expiries that have come to a step since the previous one. A full sweep also deletes old notices.
 */
export class Sweep {
  readonly #options: SweepOptions
  /** The instant up to which all expiries were looked at; undefined before the first sweep. */
  #sweptUntil: number | undefined
  #fullSweepAt = 0

  constructor(options: SweepOptions) {
    this.#options = options
  }

  /** @returns how many notices were created */
  async run(): Promise<number> {
    const { steps, databaseNow } = this.#options
    const now = await databaseNow()
    const isFull = this.#isFullSweepDue(now)
    let created = 0
    for (const range of rangesToSweep(steps, now, isFull ? undefined : this.#sweptUntil)) {
      created += await this.#sweepRange(range, now)
    }
    this.#sweptUntil = now
    if (isFull) {
      this.#fullSweepAt = now
      await this.#deleteOld(now)
    }
    return created
  }

  #isFullSweepDue(now: number): boolean {
    // A clock that was set back makes the instant of the previous sweep meaningless.
    if (this.#sweptUntil === undefined || now < this.#sweptUntil) return true
    return now >= this.#fullSweepAt + FULL_SWEEP_INTERVAL_MS
  }

  async #sweepRange({ after, upTo }: ExpiryRange, now: number): Promise<number> {
    const { db, steps, serviceKinds } = this.#options
    const range = {
      windows: stepWindows(steps, now),
      now: new Date(now),
      serviceKinds,
      after: new Date(after),
      upTo: new Date(upTo),
      limit: BATCH_SIZE
    }
    let created = 0
    let cursor: SweepCursor | undefined
    do {
      const batch = { ...range, cursor }
      const result = await db.transaction().execute(trx => createDueNotices(trx, batch))
      created += result.created
      cursor = result.next
    } while (cursor !== undefined)
    return created
  }

  async #deleteOld(now: number): Promise<void> {
    const { db, retentionDays } = this.#options
    if (retentionDays === 0) return
    const before = new Date(now - retentionDays * DAY_MS)
    const deleteBatch = () => db.transaction().execute(trx => deleteOldNotices(trx, before, DELETE_BATCH_SIZE))
    while ((await deleteBatch()) === DELETE_BATCH_SIZE);
  }
}
