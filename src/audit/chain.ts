/** Rules of the hash chain that the events of a Site form. */

import { createHash } from 'node:crypto'
import type { AuditChainTable, AuditEventTable } from '../database/schema.ts'

/** A place in a chain: an event, or the end of the part that was pruned. */
export type Link = Pick<AuditEventTable, 'sequence' | 'hash'>

export type UnchainedEvent = Omit<AuditEventTable, 'sequence' | 'previous_hash' | 'hash'>

/** The place before the first event of a Site. */
export const BEGINNING: Link = { sequence: 0, hash: Buffer.alloc(32) }

/** Appends an event to the newest one of its Site. */
export function chainEvent(newest: Link, event: UnchainedEvent): AuditEventTable {
  const chained = { ...event, sequence: newest.sequence + 1, previous_hash: newest.hash }
  return { ...chained, hash: hashEvent(chained) }
}

/** Hashes an event: SHA-256 over its members in this order, as one JSON array whose objects have sorted names. */
export function hashEvent(event: Omit<AuditEventTable, 'hash'>): Buffer {
  const members = [
    event.site_id,
    event.sequence,
    event.occurred_at.toISOString(),
    event.action,
    event.subject,
    event.actor,
    event.actor_issuer,
    event.request_id,
    event.source,
    event.changes,
    event.previous_hash.toString('hex')
  ]
  return createHash('sha256').update(JSON.stringify(members, sortNames)).digest()
}

/** A value of type jsonb does not keep the order of its members. */
function sortNames(_name: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
}

/** The first fault of a chain. */
export interface Break {
  sequence: number
  /** `endless` means that the record of the chain's end is missing. */
  fault: 'changed' | 'missing' | 'added' | 'endless'
}

/**
 * Finds the first fault in a part of a chain.
 *
 * @param before the event before this part
 * @param events the events that are stored next, in ascending order
 * @param chain the beginning and the end of the Site's chain
 */
export function findBreak(before: Link, events: readonly AuditEventTable[], chain: AuditChainTable): Break | undefined {
  let previous = before
  for (const event of events) {
    const expected = previous.sequence + 1
    if (event.sequence < expected || event.sequence > chain.sequence) return brokenAt(event.sequence, 'added')
    if (event.sequence > expected) return brokenAt(expected, 'missing')
    if (!hashEvent(event).equals(event.hash)) return brokenAt(event.sequence, 'changed')
    // The event is right, but it names another hash for the one before it. That one was changed, and hashed again.
    if (!event.previous_hash.equals(previous.hash)) {
      return brokenAt(Math.max(previous.sequence, chain.pruned_sequence + 1), 'changed')
    }
    previous = event
  }
  return undefined
}

/** Checks that the last stored event is the newest one that was ever written. */
export function findBreakAtEnd(last: Link, chain: AuditChainTable): Break | undefined {
  if (last.sequence < chain.sequence) return brokenAt(last.sequence + 1, 'missing')
  return last.hash.equals(chain.hash) ? undefined : brokenAt(last.sequence, 'changed')
}

function brokenAt(sequence: number, fault: Break['fault']): Break {
  return { sequence, fault }
}
