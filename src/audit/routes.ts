import type { FastifyInstance } from 'fastify'
import type { Static } from 'typebox'
import type { CursorKeys } from '../admin-api/cursor.ts'
import { jsonResponse, problemResponses } from '../admin-api/responses.ts'
import { SiteParams, siteOf, sitesOf } from '../admin-api/site.ts'
import type { AuditEventTable } from '../database/schema.ts'
import { readEventPage } from './listing.ts'
import {
  type AuditEventBody,
  AuditEventOfSitePageSchema,
  AuditEventOfSiteSchema,
  AuditEventPageSchema,
  AuditEventSchema,
  EventOfSiteQuery,
  EventQuery
} from './schemas.ts'

export interface AuditRoutesOptions {
  /** Keys that sign the cursors of listings, the same on every instance. */
  cursorKeys: CursorKeys
}

const tags = ['Audit']

/** Routes of the audit events of one Site. Register them where the Site has been checked. */
export async function siteAuditRoutes(app: FastifyInstance, { cursorKeys }: AuditRoutesOptions): Promise<void> {
  for (const schema of [AuditEventSchema, AuditEventPageSchema]) app.addSchema(schema)
  app.get<{ Params: Static<typeof SiteParams>; Querystring: Static<typeof EventQuery> }>(
    '/audit-events',
    {
      schema: {
        operationId: 'listAuditEvents',
        summary: 'List the audit events of a Site',
        description:
          'Returns a page, the newest event first. `nextCursor` leads to the next page. A request that renews a registration and changes other fields of it makes two events.',
        tags,
        params: SiteParams,
        querystring: EventQuery,
        response: {
          200: jsonResponse('A page of events', 'AuditEventPage'),
          ...problemResponses(400, 401, 403, 404, 500, 503)
        }
      }
    },
    async request => {
      const { rows, nextCursor } = await readEventPage(cursorKeys, siteOf(request), request.query)
      return { items: rows.map(representEvent), nextCursor }
    }
  )
}

/** Routes of the audit events of all Sites. Register them where the caller is known to be a Global Administrator. */
export async function allAuditRoutes(app: FastifyInstance, { cursorKeys }: AuditRoutesOptions): Promise<void> {
  for (const schema of [AuditEventOfSiteSchema, AuditEventOfSitePageSchema]) app.addSchema(schema)
  app.get<{ Querystring: Static<typeof EventOfSiteQuery> }>(
    '/audit-events',
    {
      schema: {
        operationId: 'listAuditEventsOfAllSites',
        summary: 'List the audit events of all Sites',
        description:
          'Returns a page to a Global Administrator, the newest event first. `nextCursor` leads to the next page.',
        tags,
        querystring: EventOfSiteQuery,
        response: {
          200: jsonResponse('A page of events', 'AuditEventOfSitePage'),
          ...problemResponses(400, 401, 403, 500, 503)
        }
      }
    },
    async request => {
      const { query } = request
      const { rows, nextCursor } = await readEventPage(cursorKeys, { ...sitesOf(request), siteId: query.siteId }, query)
      return { items: rows.map(row => ({ siteId: row.site_id, ...representEvent(row) })), nextCursor }
    }
  )
}

function representEvent(row: AuditEventTable): AuditEventBody {
  return {
    sequence: row.sequence,
    occurredAt: row.occurred_at.toISOString(),
    action: row.action,
    subject: row.subject,
    actor: row.actor,
    actorIssuer: row.actor_issuer,
    requestId: row.request_id,
    source: row.source,
    changes: row.changes,
    hash: row.hash.toString('hex')
  }
}
