import { type Kysely, sql } from 'kysely'
import { MINUTE_MS } from '../time.ts'
import type { Database } from './schema.ts'

/** How long the time of the database is carried on without asking again. */
const MAX_AGE_MS = MINUTE_MS

/**
 * Makes a clock that shows the time of the database, so that instances whose own clocks differ agree.
 *
 * It asks the database once a minute. In between it counts with the monotonic clock, which does not jump when the time
 * of the machine is set. It may be behind by the time that an answer takes, but it is never ahead.
 *
 * @returns a function that gives milliseconds since the epoch; it rejects while the database is away
 */
export function databaseClock(db: Kysely<Database>): () => Promise<number> {
  let anchor: { time: number; readAt: number } | undefined
  return async () => {
    if (anchor === undefined || performance.now() - anchor.readAt > MAX_AGE_MS) {
      const { rows } = await sql<{ now: Date }>`select clock_timestamp() as now`.execute(db)
      const [row] = rows
      if (row === undefined) throw new Error('the database did not tell its time')
      anchor = { time: row.now.getTime(), readAt: performance.now() }
    }
    return Math.floor(anchor.time + performance.now() - anchor.readAt)
  }
}
