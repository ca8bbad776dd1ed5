import { Readable } from 'node:stream'
import type { FastifyInstance } from 'fastify'
import { NoQuery, problemResponses } from '../../admin-api/responses.ts'
import { SiteParams, siteOf } from '../../admin-api/site.ts'
import { writeCalendar } from './calendar.ts'
import { type FeedOptions, siteFeedRoutes } from './feed/routes.ts'
import { listExpirations } from './repository.ts'

export interface CalendarOptions extends FeedOptions {
  /** Alarms of each event, in days before expiry. */
  steps: readonly number[]
}

/** Adds the calendar of one Site, and the URL of its feed. Register it where `siteId` has been checked. */
export async function siteCalendarRoutes(app: FastifyInstance, options: CalendarOptions): Promise<void> {
  const { steps, now } = options
  app.get(
    '/expirations.ics',
    {
      schema: {
        operationId: 'getExpirationCalendar',
        summary: "Get a Site's expiry calendar",
        description:
          'Returns an iCalendar document (RFC 5545) with one event for each registration and alarms on the notice days. It has at most 1,000 events: those that expire next, then the latest expired. A Site without registrations gets an empty VFREEBUSY component, because a calendar needs at least one. A calendar program, which cannot send the token, subscribes to the calendar feed instead.',
        tags: ['Notices'],
        params: SiteParams,
        querystring: NoQuery,
        response: {
          200: { description: 'The calendar', content: { 'text/calendar': { schema: { type: 'string' } } } },
          ...problemResponses(400, 401, 403, 404, 500, 503)
        }
      }
    },
    async (request, reply) => {
      const { siteId, db } = siteOf(request)
      const at = now()
      const calendar = { siteId, ...(await listExpirations(db, siteId, new Date(at))), steps, now: at }
      return reply.type('text/calendar; charset=utf-8').send(Readable.from(writeCalendar(calendar)))
    }
  )
  await siteFeedRoutes(app, options)
}
