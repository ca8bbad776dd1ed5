import type { FastifyInstance } from 'fastify'
import type { Static } from 'typebox'
import type { CursorKeys } from '../../admin-api/cursor.ts'
import { answer, NoQuery, problems } from '../../admin-api/responses.ts'
import { SiteParams } from '../../admin-api/site.ts'
import type { Tables } from '../../database/site-scoped-pool.ts'
import { writeCalendar } from '../calendar.ts'
import { readAlertPage, representAlert } from './listing.ts'
import { listExpirations } from './repository.ts'
import {
  AlertAllQuery,
  AlertOfSitePageSchema,
  AlertOfSiteSchema,
  AlertPageSchema,
  AlertQuery,
  AlertSchema
} from './schemas.ts'

export interface AlertRoutesNeeds {
  tables: Tables
  /** Sign the cursors of listings; the same on every instance. */
  cursorKeys: CursorKeys
  /** Days before expiry that the calendar reminds at. */
  steps: readonly number[]
  /** Milliseconds since the epoch. */
  now: () => number
}

const tags = ['Notices']

/** Alerts and the calendar of one Site. Register it where `siteId` has been checked. */
export async function siteAlertRoutes(app: FastifyInstance, needs: AlertRoutesNeeds): Promise<void> {
  const { tables, cursorKeys, steps, now } = needs
  app.addSchema(AlertSchema)
  app.addSchema(AlertPageSchema)

  app.get<{ Params: Static<typeof SiteParams>; Querystring: Static<typeof AlertQuery> }>(
    '/alerts',
    {
      schema: {
        operationId: 'listAlerts',
        summary: "List a Site's alerts",
        description: 'One for each expired registration; gone once it is renewed or deleted.',
        tags,
        params: SiteParams,
        querystring: AlertQuery,
        response: { 200: answer('A page', 'AlertPage'), ...problems(400, 401, 403, 404, 500, 503) }
      }
    },
    async ({ params: { siteId }, query }) => {
      const at = now()
      const { rows, nextCursor } = await readAlertPage({ db: tables.ofSite(siteId), cursorKeys }, siteId, query, at)
      return { items: rows.map(row => representAlert(row, at)), nextCursor }
    }
  )

  app.get<{ Params: Static<typeof SiteParams> }>(
    '/expirations.ics',
    {
      schema: {
        operationId: 'getExpirationCalendar',
        summary: "A Site's expiries as a calendar",
        description:
          'RFC 5545: an event for each registration, with alarms at the steps of the cadence. Where there is none, a VFREEBUSY without any time, since a calendar has one component at least.',
        tags,
        params: SiteParams,
        querystring: NoQuery,
        response: {
          200: { description: 'The calendar', content: { 'text/calendar': { schema: { type: 'string' } } } },
          ...problems(400, 401, 403, 404, 500, 503)
        }
      }
    },
    async ({ params: { siteId } }, reply) => {
      const expirations = await listExpirations(tables.ofSite(siteId), siteId)
      const calendar = writeCalendar(siteId, expirations, steps, now())
      return reply.type('text/calendar; charset=utf-8').send(calendar)
    }
  )
}

/** Alerts of all Sites. Register it where the caller is known to be a Global Administrator. */
export async function allAlertRoutes(app: FastifyInstance, needs: AlertRoutesNeeds): Promise<void> {
  app.addSchema(AlertOfSiteSchema)
  app.addSchema(AlertOfSitePageSchema)

  app.get<{ Querystring: Static<typeof AlertAllQuery> }>(
    '/alerts',
    {
      schema: {
        operationId: 'listAllAlerts',
        summary: 'List the alerts of all Sites',
        description: 'For Global Administrators.',
        tags,
        querystring: AlertAllQuery,
        response: { 200: answer('A page', 'AlertOfSitePage'), ...problems(400, 401, 403, 500, 503) }
      }
    },
    async ({ query }) => {
      const at = needs.now()
      const { rows, nextCursor } = await readAlertPage(
        { ...needs, db: needs.tables.ofAllSites },
        query.siteId,
        query,
        at
      )
      return { items: rows.map(row => ({ siteId: row.site_id, ...representAlert(row, at) })), nextCursor }
    }
  )
}
