import type { CursorKeys } from '../admin-api/cursor.ts'
import { readPage } from '../admin-api/page.ts'
import type { Site } from '../admin-api/site.ts'
import { listDeliveries, listNotices, type Notice } from './repository.ts'
import { representNotice } from './representation.ts'
import type { NoticeBody, NoticeQueryInput } from './schemas.ts'

/**
 * Reads one page of the notices of a Site, the latest first.
 *
 * @throws Problem 400 for a cursor that grantd did not write for this listing
 */
export async function readNoticePage(
  cursorKeys: CursorKeys,
  { siteId, db }: Site,
  query: NoticeQueryInput
): Promise<{ items: NoticeBody[]; nextCursor: string | null }> {
  const { clientId, step } = query
  const { rows, nextCursor } = await readPage<Notice, [string, string]>({
    cursorKeys,
    listing: ['notices', siteId, clientId, step],
    query,
    read: (limit, after) =>
      listNotices(db, { siteId, clientId, step, limit, after: after && { firedAt: after[0], id: after[1] } }),
    position: row => [row.fired_at.toISOString(), row.id]
  })
  const noticeIds = rows.map(({ id }) => id)
  const deliveries = Map.groupBy(await listDeliveries(db, noticeIds), delivery => delivery.notice_id)
  return { items: rows.map(row => representNotice(row, deliveries.get(row.id) ?? [])), nextCursor }
}
