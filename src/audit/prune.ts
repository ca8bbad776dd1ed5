import type { Kysely } from 'kysely'
import type { Database } from '../database/schema.ts'
import { deleteOldest, findChain, findNextSite, listChain, lockNewest } from './repository.ts'

/** A transaction deletes at most so many. */
const BATCH_EVENTS = 1_000

/**
 * Deletes the oldest events of every Site: those that happened before `cutoff` and have no younger one before them,
 * so that what stays is a chain without a gap.
 *
 * @param db connected as the owner of the schema
 * @param cutoff milliseconds since the epoch
 * @returns how many were deleted
 */
export async function pruneChains(db: Kysely<Database>, cutoff: number): Promise<number> {
  let deleted = 0
  let siteId = await findNextSite(db, '')
  while (siteId !== undefined) {
    let batch: number
    do {
      batch = await pruneBatch(db, siteId, cutoff)
      deleted += batch
    } while (batch === BATCH_EVENTS)
    siteId = await findNextSite(db, siteId)
  }
  return deleted
}

function pruneBatch(db: Kysely<Database>, siteId: string, cutoff: number): Promise<number> {
  return db.transaction().execute(async trx => {
    // Of two that prune at once, the second finds it done.
    await lockNewest(trx, siteId)
    const chain = await findChain(trx, siteId)
    const oldest = await listChain(trx, siteId, chain?.pruned_sequence ?? 0, BATCH_EVENTS)
    const kept = oldest.findIndex(event => event.occurred_at.getTime() >= cutoff)
    const pruned = kept === -1 ? oldest : oldest.slice(0, kept)
    const last = pruned.at(-1)
    if (last !== undefined) await deleteOldest(trx, siteId, last)
    return pruned.length
  })
}
