import type { Kysely } from 'kysely'
import { type CursorKeys, positionAfter, writeCursor } from '../admin-api/cursor.ts'
import { parseInstant } from '../admin-api/instant.ts'
import { invalidRequest } from '../admin-api/validation.ts'
import type { AuditEventTable, Database } from '../database/schema.ts'
import { listEvents } from './repository.ts'
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
  const after = positionAfter<[string, string, number]>(cursorKeys, listing, query.cursor)
  const rows = await listEvents(db, {
    siteId,
    subject: clientId,
    actor,
    action,
    from: instantOf('from', from),
    to: instantOf('to', to),
    // One more than asked for: whether it exists says whether there is a next page.
    limit: limit + 1,
    after: after && { occurredAt: after[0], siteId: after[1], sequence: after[2] }
  })
  const page = rows.slice(0, limit)
  const last = page.at(-1)
  if (last === undefined || rows.length <= limit) return { rows: page, nextCursor: null }
  const position = [last.occurred_at.toISOString(), last.site_id, last.sequence]
  return { rows: page, nextCursor: writeCursor(cursorKeys, listing, position) }
}

function instantOf(parameter: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const instant = parseInstant(text)
  if (!Number.isNaN(instant)) return instant
  const detail = 'must be an RFC 3339 date and time with an offset'
  throw invalidRequest([{ parameter, code: 'invalid_value', detail }])
}
