import type { CursorKeys } from '../admin-api/cursor.ts'
import { parseInstantParameter } from '../admin-api/instant.ts'
import { type Page, readPage } from '../admin-api/page.ts'
import type { Sites } from '../admin-api/site.ts'
import type { AuditEventTable } from '../database/schema.ts'
import { listEvents } from './repository.ts'
import type { EventInput } from './schemas.ts'

/**
 * Reads one page of audit events, the newest first, and where the next page begins.
 *
 * @throws Problem 400 for a cursor of another listing, or an instant that is not one
 */
export function readEventPage(
  cursorKeys: CursorKeys,
  { siteId, db }: Sites,
  query: EventInput
): Promise<Page<AuditEventTable>> {
  const { clientId: subject, actor, action } = query
  const from = parseInstantParameter('from', query.from)
  const to = parseInstantParameter('to', query.to)
  return readPage<AuditEventTable, [string, string, number]>({
    cursorKeys,
    listing: ['audit events', siteId, subject, actor, action, query.from, query.to],
    query,
    read: (limit, after) =>
      listEvents(db, {
        ...{ siteId, subject, actor, action, from, to, limit },
        after: after && { occurredAt: after[0], siteId: after[1], sequence: after[2] }
      }),
    position: event => [event.occurred_at.toISOString(), event.site_id, event.sequence]
  })
}
