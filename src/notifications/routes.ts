import type { FastifyInstance } from 'fastify'
import type { Static } from 'typebox'
import { auditContextOf } from '../admin-api/audit-context.ts'
import type { CursorKeys } from '../admin-api/cursor.ts'
import { jsonResponse, NoQuery, problemResponses } from '../admin-api/responses.ts'
import { SiteParams, siteOf } from '../admin-api/site.ts'
import { type AlertRoutesOptions, siteAlertRoutes } from './alerts/routes.ts'
import { type CalendarOptions, siteCalendarRoutes } from './calendar/routes.ts'
import { readNoticePage } from './listing.ts'
import type { Outbox } from './outbox/outbox.ts'
import { type RetryOptions, retryDelivery } from './outbox/retry.ts'
import { receiverRoutes } from './receivers/routes.ts'
import type { ReceiverOptions } from './receivers/service.ts'
import { representDelivery } from './representation.ts'
import { DeliveryParams, DeliverySchema, NoticePageSchema, NoticeQuery, NoticeSchema } from './schemas.ts'

export interface NoticeRoutesOptions extends RetryOptions {
  /** Keys that sign the cursors of listings, the same on every instance. */
  cursorKeys: CursorKeys
  outbox: Outbox
}

const tags = ['Notices']

/** Adds the notices, alerts, receivers and calendar of one Site. Register it where `siteId` has been checked. */
export async function siteNotificationRoutes(
  app: FastifyInstance,
  options: NoticeRoutesOptions & AlertRoutesOptions & ReceiverOptions & CalendarOptions
): Promise<void> {
  await noticeRoutes(app, options)
  await siteAlertRoutes(app, options)
  await receiverRoutes(app, options)
  await siteCalendarRoutes(app, options)
}

async function noticeRoutes(app: FastifyInstance, options: NoticeRoutesOptions): Promise<void> {
  for (const schema of [DeliverySchema, NoticeSchema, NoticePageSchema]) app.addSchema(schema)

  app.get<{ Querystring: Static<typeof NoticeQuery> }>(
    '/notices',
    {
      schema: {
        operationId: 'listNotices',
        summary: "List a Site's notices",
        description: 'Returns the notices that have fired, the latest first, each with the state of its deliveries.',
        tags,
        params: SiteParams,
        querystring: NoticeQuery,
        response: {
          200: jsonResponse('A page of notices', 'NoticePage'),
          ...problemResponses(400, 401, 403, 404, 500, 503)
        }
      }
    },
    request => readNoticePage(options.cursorKeys, siteOf(request), request.query)
  )

  app.post<{ Params: Static<typeof DeliveryParams> }>(
    '/notices/:noticeId/deliveries/:deliveryId/retry',
    {
      schema: {
        operationId: 'retryNoticeDelivery',
        summary: 'Retry a delivery',
        description:
          "grantd sends the notice again at once, with the same event id. Its tries are counted from the start. A cancelled delivery cannot be retried, and a delivery to one of the service's own receivers only until it is delivered.",
        tags,
        params: DeliveryParams,
        querystring: NoQuery,
        response: {
          202: jsonResponse('The delivery, which is being tried', 'NoticeDelivery'),
          ...problemResponses(400, 401, 403, 404, 409, 413, 415, 500, 503)
        }
      }
    },
    async (request, reply) => {
      const delivery = await retryDelivery(siteOf(request), options, request.params, auditContextOf(request))
      options.outbox.pumpInBackground()
      return reply.code(202).send(representDelivery(delivery))
    }
  )
}
