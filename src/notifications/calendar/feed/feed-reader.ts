import { createHash } from 'node:crypto'
import { throughGate } from '../../../admin-api/gate.ts'
import { Semaphore } from '../../../concurrency/semaphore.ts'
import type { Tables } from '../../../database/site-scoped-pool.ts'
import { notFound } from '../../../http/problem.ts'
import { writeCalendar } from '../calendar.ts'
import { listExpirations } from '../repository.ts'
import { digestFeedKey, isFeedKey } from './feed-key.ts'
import { findFeedSite } from './repository.ts'

export interface FeedReaderOptions {
  /** The administrators' pool. Nothing of the token endpoint waits for it. */
  tables: Tables
  /** Alarms of each event, in days before expiry. */
  steps: readonly number[]
  /** Milliseconds since the epoch. */
  now: () => number
}

/**
 * Anybody can ask for a feed. Two requests at once are enough for calendar programs, which ask every few hours. They leave
 * administrators the other connections of their pool.
 */
const AT_ONCE = { permits: 2, maxWaiting: 100, maxWaitMs: 1_000 }
const TOO_MANY_READERS = { detail: 'Too many calendars are being read. Try again later.', reason: 'overloaded' }

/** Reads calendars by the key in their URL, a few at a time. */
export class FeedReader {
  readonly #options: FeedReaderOptions
  readonly #turns = new Semaphore(AT_ONCE)

  constructor(options: FeedReaderOptions) {
    this.#options = options
  }

  /**
   * Reads the calendar of the Site whose feed has this key. A key that was revoked and one that never was take the same way.
   *
   * @throws Problem 404; 503 when too many ask
   */
  async read(key: string): Promise<{ etag: string; text: string }> {
    // The form of a key is public, so that refusing junk without a look-up reveals nothing.
    if (!isFeedKey(key)) throw notFound()
    return throughGate(this.#turns, TOO_MANY_READERS, () => this.#read(key))
  }

  async #read(key: string): Promise<{ etag: string; text: string }> {
    const { tables, steps, now } = this.#options
    const siteId = await findFeedSite(tables.ofAllSites, digestFeedKey(key))
    if (siteId === undefined) throw notFound()
    const at = now()
    const listed = await listExpirations(tables.ofSite(siteId), siteId, new Date(at))
    let text = ''
    // As a whole, so that a caller who reads slowly holds no turn.
    for await (const piece of writeCalendar({ siteId, ...listed, steps, now: at })) text += piece
    return { etag: etagOf({ siteId, ...listed, steps }), text }
  }
}

/**
 * Returns an entity tag of what the calendar shows. It is weak, because two calendars with the same tag differ in
 * DTSTAMP, the instant at which they were written.
 */
function etagOf(shown: object): string {
  return `W/"${createHash('sha256').update(JSON.stringify(shown)).digest('base64url')}"`
}

/** Returns whether an `If-None-Match` header has this tag (RFC 9110 §13.1.2). */
export function matchesEtag(ifNoneMatch: string | undefined, etag: string): boolean {
  if (ifNoneMatch === undefined) return false
  return ifNoneMatch.split(',').some(tag => ['*', etag, etag.replace('W/', '')].includes(tag.trim()))
}
