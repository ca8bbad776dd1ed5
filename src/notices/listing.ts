import type { Kysely } from 'kysely'
import type { Database } from '../database/schema.ts'
import { invalidRequest } from '../http/validation.ts'
import { readCursor, writeCursor } from '../registrations/cursor.ts'
import { DEFAULT_LIMIT } from '../registrations/schemas.ts'
import { listDeliveries, listNotices } from './repository.ts'
import { representNotice } from './representation.ts'
import type { NoticeBody, NoticeQueryInput } from './schemas.ts'

/**
 * Reads one page of what fired in a Site, the latest first, and where the next begins.
 *
 * @throws Problem 400 for a cursor of another listing, or one that nobody made
 */
export async function readNoticePage(
  { db, cursorKey }: { db: Kysely<Database>; cursorKey: Buffer },
  siteId: string,
  query: NoticeQueryInput
): Promise<{ items: NoticeBody[]; nextCursor: string | null }> {
  const { limit = DEFAULT_LIMIT, clientId, step, cursor } = query
  const listing = JSON.stringify(['notices', siteId, clientId, step])
  const rows = await listNotices(db, {
    siteId,
    clientId,
    step,
    limit: limit + 1,
    after: cursor === undefined ? undefined : positionOf(cursorKey, listing, cursor)
  })
  const page = rows.slice(0, limit)
  const deliveries = Map.groupBy(
    await listDeliveries(
      db,
      page.map(({ id }) => id)
    ),
    delivery => delivery.notice_id
  )
  const items = page.map(row => representNotice(row, deliveries.get(row.id) ?? []))
  const last = page.at(-1)
  if (last === undefined || rows.length <= limit) return { items, nextCursor: null }
  const position = { value: last.fired_at.toISOString(), clientId: last.id }
  return { items, nextCursor: writeCursor(cursorKey, listing, position) }
}

function positionOf(cursorKey: Buffer, listing: string, cursor: string): { firedAt: string; id: string } {
  const position = readCursor(cursorKey, listing, cursor)
  if (position !== undefined) return { firedAt: String(position.value), id: position.clientId }
  throw invalidRequest([{ parameter: 'cursor', code: 'invalid_cursor', detail: 'is not a cursor of this listing' }])
}
