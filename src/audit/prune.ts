import type { Kysely } from 'kysely'
import type { Database } from '../database/schema.ts'
import { pruneEvents } from './repository.ts'

/** Maximum number of events that one transaction deletes. */
const BATCH_EVENTS = 1_000

/**
 * Deletes the events of every Site that are older than the retention, by the clock of the database. An old event that comes
 * after a younger one stays with it, so that the chain has no gap.
 *
 * @returns how many were deleted
 */
export async function pruneChains(db: Kysely<Database>, retentionDays: number): Promise<number> {
  let deleted = 0
  for (;;) {
    const batch = await pruneEvents(db, retentionDays, BATCH_EVENTS)
    deleted += batch
    if (batch === 0) return deleted
  }
}
