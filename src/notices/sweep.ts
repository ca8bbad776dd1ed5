import type { Kysely } from 'kysely'
import type { Database } from '../database/schema.ts'
import { DAY_MS } from '../registrations/lifecycle.ts'
import { stepWindows } from './cadence.ts'
import { fireDueNotices, type ServiceReceiver } from './repository.ts'

export interface SweepNeeds {
  db: Kysely<Database>
  /** Days before expiry, the first to come first. */
  steps: readonly number[]
  serviceReceivers: readonly ServiceReceiver[]
  /** Milliseconds since the epoch. */
  now: () => number
}

/** Notices of one transaction. */
const BATCH = 500
/** What expired so long before the last sweep is not looked at again; clocks of instances differ by less. */
const LOOKBACK_MS = 30 * DAY_MS

/** Makes the notices that have come due. The first sweep of a process looks at everything: what a downtime missed. */
export class Sweep {
  readonly #needs: SweepNeeds
  #sweptUntil = 0

  constructor(needs: SweepNeeds) {
    this.#needs = needs
  }

  /** @returns how many notices were made; what another instance is at is left to it */
  async run(): Promise<number> {
    const { db, steps, serviceReceivers } = this.#needs
    const now = this.#needs.now()
    // Of a clock that was turned back, too.
    const earliest = Math.max(0, Math.min(this.#sweptUntil, now) - LOOKBACK_MS)
    const firing = { windows: stepWindows(steps, now, earliest), now, serviceReceivers, limit: BATCH }
    for (let made = 0; ; ) {
      const fired = await db.transaction().execute(trx => fireDueNotices(trx, firing))
      if (fired === undefined) return made
      made += fired
      if (fired < BATCH) {
        this.#sweptUntil = now
        return made
      }
    }
  }
}
