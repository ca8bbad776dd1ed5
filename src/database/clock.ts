import { type Kysely, sql } from 'kysely'
import { MINUTE_MS } from '../time.ts'
import type { Database } from './schema.ts'

/** How long the time of the database is carried on without asking again. */
const MAX_AGE_MS = MINUTE_MS

/**
 * Shows the time of the database, so that instances whose own clocks differ agree. In milliseconds since the epoch.
 *
 * Between two answers of the database it counts with the monotonic clock, which does not jump when the time of the machine
 * is set. It may be behind by the time that an answer takes. It is never ahead, unless the clock of the database was set
 * back since the latest answer.
 */
export class DatabaseClock {
  readonly #db: Kysely<Database>
  #anchor: { time: number; readAt: number } | undefined

  constructor(db: Kysely<Database>) {
    this.#db = db
  }

  /** Returns the time. It asks the database once a minute, and rejects while the database is away. */
  readonly now = async (): Promise<number> => {
    if (this.#anchor === undefined || performance.now() - this.#anchor.readAt > MAX_AGE_MS) await this.refresh()
    return Math.floor(this.estimate())
  }

  /** Returns the time without asking, as it follows from the latest answer. Infinity before the first one. */
  readonly estimate = (): number => {
    if (this.#anchor === undefined) return Number.POSITIVE_INFINITY
    return this.#anchor.time + performance.now() - this.#anchor.readAt
  }

  /** Asks the database for its time. */
  async refresh(): Promise<void> {
    const { rows } = await sql<{ now: Date }>`select clock_timestamp() as now`.execute(this.#db)
    const [row] = rows
    if (row === undefined) throw new Error('the database did not tell its time')
    this.#anchor = { time: row.now.getTime(), readAt: performance.now() }
  }
}
