import type { Kysely } from 'kysely'
import type { Database } from '../database/schema.ts'
import { type Break, findBreak, findBreakAtEnd, type Link } from './chain.ts'
import { findChain, findNextSite, listChain } from './repository.ts'

/** The result of verifying the chain of one Site. */
export interface Verdict {
  siteId: string
  /** Number of events that were verified. */
  events: number
  /** The first event that is not as it was written. Undefined when there is none. */
  broken: Break | undefined
}

const PAGE_EVENTS = 1_000

/** Verifies the chain of every Site that has or had events, a page at a time. It only reads. */
export async function* verifyChains(db: Kysely<Database>): AsyncGenerator<Verdict> {
  let siteId = await findNextSite(db, '')
  while (siteId !== undefined) {
    yield await verifyChain(db, siteId)
    siteId = await findNextSite(db, siteId)
  }
}

function verifyChain(db: Kysely<Database>, siteId: string): Promise<Verdict> {
  // One snapshot, so that events that are written or pruned meanwhile are no faults.
  const snapshot = db.transaction().setIsolationLevel('repeatable read').setAccessMode('read only')
  return snapshot.execute(async trx => {
    const chain = await findChain(trx, siteId)
    if (chain === undefined) {
      const [first] = await listChain(trx, siteId, LOWEST_SEQUENCE, 1)
      return { siteId, events: 0, broken: { sequence: first?.sequence ?? 1, fault: 'endless' } }
    }
    let previous: Link = { sequence: chain.pruned_sequence, hash: chain.pruned_hash }
    let events = 0
    // The first page begins before the chain, so that events that should have been pruned are found.
    for (let beyond = LOWEST_SEQUENCE; ; beyond = previous.sequence) {
      const page = await listChain(trx, siteId, beyond, PAGE_EVENTS)
      const broken = findBreak(previous, page, chain)
      events += page.length
      previous = page.at(-1) ?? previous
      if (broken !== undefined) return { siteId, events, broken }
      if (page.length < PAGE_EVENTS) return { siteId, events, broken: findBreakAtEnd(previous, chain) }
    }
  })
}

/** The lowest integer of Postgres. */
const LOWEST_SEQUENCE = -2_147_483_648
