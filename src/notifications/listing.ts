import type { Kysely } from 'kysely'
import { type CursorKeys, positionAfter, writeCursor } from '../admin-api/cursor.ts'
import { DEFAULT_LIMIT } from '../admin-api/page.ts'
import type { Database } from '../database/schema.ts'
import { listDeliveries, listNotices } from './repository.ts'
import { representNotice } from './representation.ts'
import type { NoticeBody, NoticeQueryInput } from './schemas.ts'

/**
 * Reads one page of what fired in a Site, the latest first, and where the next begins.
 *
 * @throws Problem 400 for a cursor of another listing, or one that nobody made
 */
export async function readNoticePage(
  { db, cursorKeys }: { db: Kysely<Database>; cursorKeys: CursorKeys },
  siteId: string,
  query: NoticeQueryInput
): Promise<{ items: NoticeBody[]; nextCursor: string | null }> {
  const { limit = DEFAULT_LIMIT, clientId, step, cursor } = query
  const listing = JSON.stringify(['notices', siteId, clientId, step])
  const after = positionAfter<[string, string]>(cursorKeys, listing, cursor)
  const rows = await listNotices(db, {
    siteId,
    clientId,
    step,
    limit: limit + 1,
    after: after && { firedAt: after[0], id: after[1] }
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
  return { items, nextCursor: writeCursor(cursorKeys, listing, [last.fired_at.toISOString(), last.id]) }
}
