import type { FastifyInstance } from 'fastify'
import type { Static } from 'typebox'
import { auditContextOf } from '../../../admin-api/audit-context.ts'
import { jsonResponse, NoQuery, problemResponses } from '../../../admin-api/responses.ts'
import { SiteParams, siteOf } from '../../../admin-api/site.ts'
import { FeedReader, type FeedReaderOptions, matchesEtag } from './feed-reader.ts'
import { CalendarFeedSchema, FeedParams } from './schemas.ts'
import { replaceFeedKey, revokeFeedKey } from './service.ts'

export interface FeedOptions {
  /** The base of URLs, also when it has a path. */
  issuer: string
  /** Milliseconds since the epoch. */
  now: () => number
}

const tags = ['Notices']
const FEED_PATH = '/calendar'

/** Adds the URL of a Site's calendar feed. Register it where `siteId` has been checked. */
export async function siteFeedRoutes(app: FastifyInstance, { issuer, now }: FeedOptions): Promise<void> {
  app.addSchema(CalendarFeedSchema)
  const base = issuer.replace(/\/$/, '')

  app.put(
    '/calendar-feed',
    {
      schema: {
        operationId: 'replaceCalendarFeed',
        summary: "Create or replace a Site's calendar feed",
        description:
          'Returns a URL that calendar programs can subscribe to without a header. A Site has one such URL: the one before it stops working at once. Only this answer has the URL.',
        tags,
        params: SiteParams,
        querystring: NoQuery,
        response: {
          201: jsonResponse('The URL of the feed', 'CalendarFeed'),
          ...problemResponses(400, 401, 403, 404, 413, 415, 500, 503)
        }
      }
    },
    async (request, reply) => {
      const key = await replaceFeedKey(siteOf(request), now(), auditContextOf(request))
      return reply.code(201).send({ url: `${base}${FEED_PATH}/${key}.ics` })
    }
  )

  app.delete(
    '/calendar-feed',
    {
      schema: {
        operationId: 'revokeCalendarFeed',
        summary: "Revoke a Site's calendar feed",
        description: 'The URL of the feed stops working at once.',
        tags,
        params: SiteParams,
        querystring: NoQuery,
        response: {
          204: { description: 'The feed was revoked', type: 'null' },
          ...problemResponses(400, 401, 403, 404, 413, 415, 500, 503)
        }
      }
    },
    async (request, reply) => {
      await revokeFeedKey(siteOf(request), now(), auditContextOf(request))
      return reply.code(204).send()
    }
  )
}

const validators = {
  ETag: { type: 'string', description: 'Changes when an event of the calendar changes' },
  'Cache-Control': { type: 'string', description: 'Caches must ask again, so that a revoked feed ends at once' }
}

/** Adds the calendars that anybody with the URL can read. The log and the metrics have the pattern of its path only. */
export async function calendarFeed(app: FastifyInstance, options: FeedReaderOptions): Promise<void> {
  const reader = new FeedReader(options)
  app.get<{ Params: Static<typeof FeedParams> }>(
    `${FEED_PATH}/:key.ics`,
    {
      schema: {
        operationId: 'getCalendarFeed',
        summary: 'Get a calendar feed',
        description:
          "Returns the expiry calendar of a Site (RFC 5545) to anybody who has the URL. An unknown key and a revoked one get the same answer. The answer to a request whose `If-None-Match` has the calendar's ETag is 304.",
        tags,
        security: [],
        params: FeedParams,
        response: {
          200: {
            description: 'The calendar',
            headers: validators,
            content: { 'text/calendar': { schema: { type: 'string' } } }
          },
          304: { description: 'The calendar is the one that the caller has', headers: validators, type: 'null' },
          ...problemResponses(404, 500, 503)
        }
      }
    },
    async (request, reply) => {
      const { etag, text } = await reader.read(request.params.key)
      // A stored answer is asked for again each time, and a shared cache stores none.
      reply.headers({ etag, 'cache-control': 'private, no-cache' })
      if (matchesEtag(request.headers['if-none-match'], etag)) return reply.code(304).send()
      return reply.type('text/calendar; charset=utf-8').send(text)
    }
  )
}
