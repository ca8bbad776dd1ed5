import type { Kysely } from 'kysely'
import type { AuditEventTable, Database } from '../database/schema.ts'
import { type CursorKeys, readCursor, writeCursor } from '../http/cursor.ts'
import { parseInstant } from '../http/instant.ts'
import type { Fault } from '../http/problem.ts'
import { invalidRequest } from '../http/validation.ts'
import { type EventListing, listEvents } from './repository.ts'
import { DEFAULT_LIMIT, type EventInput } from './schemas.ts'

/**
 * Reads one page of audit events, and where the next begins.
 *
 * @param siteId undefined for all Sites
 * @throws Problem 400 for a cursor of another listing, or one that nobody made; for what is no instant
 */
export async function readEventPage(
  { db, cursorKeys }: { db: Kysely<Database>; cursorKeys: CursorKeys },
  siteId: string | undefined,
  query: EventInput
): Promise<{ rows: AuditEventTable[]; nextCursor: string | null }> {
  const { limit = DEFAULT_LIMIT, clientId, actor, action, from, to } = query
  // All that a cursor is bound to: everything but the page's size.
  const listing = JSON.stringify([siteId, clientId, actor, action, from, to])
  const rows = await listEvents(db, {
    siteId,
    subject: clientId,
    actor,
    action,
    from: instantOf('from', from),
    to: instantOf('to', to),
    // One more than asked for: whether it exists says whether there is a next page.
    limit: limit + 1,
    after: query.cursor === undefined ? undefined : positionOf(cursorKeys, listing, query.cursor)
  })
  const page = rows.slice(0, limit)
  const last = page.at(-1)
  if (last === undefined || rows.length <= limit) return { rows: page, nextCursor: null }
  const position = [last.occurred_at.toISOString(), last.site_id, last.sequence]
  return { rows: page, nextCursor: writeCursor(cursorKeys, listing, position) }
}

function positionOf(cursorKeys: CursorKeys, listing: string, cursor: string): EventListing['after'] {
  const position = readCursor<[string, string, number]>(cursorKeys, listing, cursor)
  if (position === undefined)
    throw wrong({ code: 'invalid_cursor', detail: 'is not a cursor of this listing' }, 'cursor')
  const [occurredAt, siteId, sequence] = position
  return { occurredAt, siteId, sequence }
}

function instantOf(parameter: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const instant = parseInstant(text)
  if (!Number.isNaN(instant)) return instant
  throw wrong({ code: 'invalid_value', detail: 'must be an RFC 3339 date and time with an offset' }, parameter)
}

function wrong(fault: Fault, parameter: string): Error {
  return invalidRequest([{ parameter, ...fault }])
}
