import type { FastifyInstance } from 'fastify'
import type { Static } from 'typebox'
import type { CursorKeys } from '../../admin-api/cursor.ts'
import { jsonResponse, problemResponses } from '../../admin-api/responses.ts'
import { SiteParams, siteOf, sitesOf } from '../../admin-api/site.ts'
import { readAlertPage, representAlert } from './listing.ts'
import {
  AlertAllQuery,
  AlertOfSitePageSchema,
  AlertOfSiteSchema,
  AlertPageSchema,
  AlertQuery,
  AlertSchema
} from './schemas.ts'

export interface AlertRoutesOptions {
  /** Keys that sign the cursors of listings, the same on every instance. */
  cursorKeys: CursorKeys
  /** Milliseconds since the epoch. */
  now: () => number
}

const tags = ['Notices']

/** Adds the alerts of one Site. Register it where `siteId` has been checked. */
export async function siteAlertRoutes(app: FastifyInstance, options: AlertRoutesOptions): Promise<void> {
  const { cursorKeys, now } = options
  app.addSchema(AlertSchema)
  app.addSchema(AlertPageSchema)

  app.get<{ Querystring: Static<typeof AlertQuery> }>(
    '/alerts',
    {
      schema: {
        operationId: 'listAlerts',
        summary: "List a Site's alerts",
        description:
          'There is one alert for each expired registration, until the registration is renewed or deleted. The latest expiry comes first.',
        tags,
        params: SiteParams,
        querystring: AlertQuery,
        response: {
          200: jsonResponse('A page of alerts', 'AlertPage'),
          ...problemResponses(400, 401, 403, 404, 500, 503)
        }
      }
    },
    async request => {
      const at = now()
      const { rows, nextCursor } = await readAlertPage(cursorKeys, siteOf(request), request.query, at)
      return { items: rows.map(row => representAlert(row, at)), nextCursor }
    }
  )
}

/** Adds the alerts of all Sites. Register it where only Global Administrators come. */
export async function allAlertRoutes(app: FastifyInstance, options: AlertRoutesOptions): Promise<void> {
  app.addSchema(AlertOfSiteSchema)
  app.addSchema(AlertOfSitePageSchema)

  app.get<{ Querystring: Static<typeof AlertAllQuery> }>(
    '/alerts',
    {
      schema: {
        operationId: 'listAllAlerts',
        summary: 'List the alerts of all Sites',
        description: 'Only Global Administrators may call it.',
        tags,
        querystring: AlertAllQuery,
        response: {
          200: jsonResponse('A page of alerts', 'AlertOfSitePage'),
          ...problemResponses(400, 401, 403, 500, 503)
        }
      }
    },
    async request => {
      const at = options.now()
      const sites = { ...sitesOf(request), siteId: request.query.siteId }
      const { rows, nextCursor } = await readAlertPage(options.cursorKeys, sites, request.query, at)
      return { items: rows.map(row => ({ siteId: row.site_id, ...representAlert(row, at) })), nextCursor }
    }
  )
}
