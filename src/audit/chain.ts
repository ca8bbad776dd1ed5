/** How the events of a Site hang together. Pure. */

import { createHash } from 'node:crypto'
import type { AuditChainTable, AuditEventTable } from '../database/schema.ts'

/** A place in a chain: an event, or the end of what is no longer there. */
export type Link = Pick<AuditEventTable, 'sequence' | 'hash'>

export type UnchainedEvent = Omit<AuditEventTable, 'sequence' | 'previous_hash' | 'hash'>

/** What the first event of a Site follows. */
export const BEGINNING: Link = { sequence: 0, hash: Buffer.alloc(32) }

/** Hangs an event on the newest one of its Site. */
export function chainEvent(newest: Link, event: UnchainedEvent): AuditEventTable {
  const chained = { ...event, sequence: newest.sequence + 1, previous_hash: newest.hash }
  return { ...chained, hash: hashEvent(chained) }
}

/** SHA-256 over the event's members in this order, as one JSON array whose objects have sorted names. */
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

/** jsonb keeps its members in an order of its own. */
function sortNames(_name: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
}

/** The first event of a chain with which something is wrong. */
export interface Break {
  sequence: number
  /** `endless`: nothing says any more where its chain ends. */
  fault: 'changed' | 'missing' | 'added' | 'endless'
}

/**
 * Follows events from the one before them on.
 *
 * @param events those that there are next, in ascending order
 * @param chain where the Site's events begin and end
 */
export function findBreak(before: Link, events: readonly AuditEventTable[], chain: AuditChainTable): Break | undefined {
  let previous = before
  for (const event of events) {
    const expected = previous.sequence + 1
    if (event.sequence < expected || event.sequence > chain.sequence) return brokenAt(event.sequence, 'added')
    if (event.sequence > expected) return brokenAt(expected, 'missing')
    if (!hashEvent(event).equals(event.hash)) return brokenAt(event.sequence, 'changed')
    // Right in itself, but it remembers another event before it: that one was changed, and its hash made anew.
    if (!event.previous_hash.equals(previous.hash)) {
      return brokenAt(Math.max(previous.sequence, chain.pruned_sequence + 1), 'changed')
    }
    previous = event
  }
  return undefined
}

/** Is the last event the newest that there has been? */
export function findBreakAtEnd(last: Link, chain: AuditChainTable): Break | undefined {
  if (last.sequence < chain.sequence) return brokenAt(last.sequence + 1, 'missing')
  return last.hash.equals(chain.hash) ? undefined : brokenAt(last.sequence, 'changed')
}

function brokenAt(sequence: number, fault: Break['fault']): Break {
  return { sequence, fault }
}
