import type { Kysely } from 'kysely'
import type { Database } from '../database/schema.ts'
import { DAY_MS } from '../time.ts'
import { type ExpiryRange, rangesToSweep, stepWindows } from './cadence.ts'
import { deleteOldNotices, fireDueNotices, type Place, type ServiceReceiver } from './repository.ts'

export interface SweepNeeds {
  db: Kysely<Database>
  /** Days before expiry, the first to come first. */
  steps: readonly number[]
  serviceReceivers: readonly ServiceReceiver[]
  /** How long notices stay, days; 0 for ever. */
  retentionDays: number
  /** Milliseconds since the epoch. */
  now: () => number
}

/** Registrations that one transaction looks at: some milliseconds of work. */
const STRETCH = 2_000
/** Notices that one statement deletes. */
const BATCH = 1_000
/** So often everything is looked at, whatever may have changed behind our back. */
const FULL_EVERY_MS = 3_600_000

/**
 * Makes the notices that have come due. The first sweep of a process looks at everything: what a downtime missed.
 * Later ones look at what has come to a step since. Whenever everything is looked at, what is old goes.
 */
export class Sweep {
  readonly #needs: SweepNeeds
  /** Until when everything has been looked at; undefined before the first sweep. */
  #sweptUntil: number | undefined
  #fullSweepAt = 0

  constructor(needs: SweepNeeds) {
    this.#needs = needs
  }

  /** @returns how many notices were made */
  async run(): Promise<number> {
    const { steps } = this.#needs
    const now = this.#needs.now()
    // A clock that was turned back starts anew.
    const isFull = this.#sweptUntil === undefined || now < this.#sweptUntil || now >= this.#fullSweepAt + FULL_EVERY_MS
    let made = 0
    for (const range of rangesToSweep(steps, now, isFull ? undefined : this.#sweptUntil)) {
      made += await this.#sweepRange(range, now)
    }
    this.#sweptUntil = now
    if (isFull) {
      this.#fullSweepAt = now
      await this.#deleteOld(now)
    }
    return made
  }

  async #deleteOld(now: number): Promise<void> {
    const { db, retentionDays } = this.#needs
    if (retentionDays === 0) return
    const before = new Date(now - retentionDays * DAY_MS)
    const deleteBatch = () => db.transaction().execute(trx => deleteOldNotices(trx, before, BATCH))
    while ((await deleteBatch()) === BATCH);
  }

  async #sweepRange({ after, upTo }: ExpiryRange, now: number): Promise<number> {
    const { db, steps, serviceReceivers } = this.#needs
    const firing = {
      windows: stepWindows(steps, now),
      now,
      serviceReceivers,
      after: new Date(after),
      upTo: new Date(upTo),
      limit: STRETCH
    }
    let made = 0
    let place: Place | undefined
    do {
      const stretch = { ...firing, place }
      const fired = await db.transaction().execute(trx => fireDueNotices(trx, stretch))
      made += fired.made
      place = fired.next
    } while (place !== undefined)
    return made
  }
}
