import type { FastifyInstance } from 'fastify'
import type { Static } from 'typebox'
import { auditContextOf } from '../admin-api/audit-context.ts'
import type { CursorKeys } from '../admin-api/cursor.ts'
import { answer, NoQuery, problems } from '../admin-api/responses.ts'
import { SiteParams } from '../admin-api/site.ts'
import type { Tables } from '../database/site-scoped-pool.ts'
import { type AlertRoutesOptions, siteAlertRoutes } from './alerts/routes.ts'
import { readNoticePage } from './listing.ts'
import { sendAgain } from './outbox/send-again.ts'
import { type ReceiverRoutesNeeds, receiverRoutes } from './receivers/routes.ts'
import { representDelivery } from './representation.ts'
import { DeliveryParams, DeliverySchema, NoticePageSchema, NoticeQuery, NoticeSchema } from './schemas.ts'

export interface NoticeRoutesNeeds {
  tables: Tables
  /** Sign the cursors of listings; the same on every instance. */
  cursorKeys: CursorKeys
  /** Milliseconds since the epoch. */
  now: () => number
}

const tags = ['Notices']

/** Adds the notices, alerts and receivers of one Site. Register it where `siteId` has been checked. */
export async function siteNotificationRoutes(
  app: FastifyInstance,
  options: NoticeRoutesNeeds & AlertRoutesOptions & ReceiverRoutesNeeds
): Promise<void> {
  await noticeRoutes(app, options)
  await siteAlertRoutes(app, options)
  await receiverRoutes(app, options)
}

async function noticeRoutes(app: FastifyInstance, needs: NoticeRoutesNeeds): Promise<void> {
  const { tables, cursorKeys, now } = needs
  for (const schema of [DeliverySchema, NoticeSchema, NoticePageSchema]) app.addSchema(schema)

  app.get<{ Params: Static<typeof SiteParams>; Querystring: Static<typeof NoticeQuery> }>(
    '/notices',
    {
      schema: {
        operationId: 'listNotices',
        summary: "List a Site's notices",
        description: 'What fired, when, and how each delivery stands; the latest first. Pages by cursor.',
        tags,
        params: SiteParams,
        querystring: NoticeQuery,
        response: { 200: answer('A page', 'NoticePage'), ...problems(400, 401, 403, 404, 500, 503) }
      }
    },
    ({ params: { siteId }, query }) => readNoticePage({ db: tables.ofSite(siteId), cursorKeys }, siteId, query)
  )

  app.post<{ Params: Static<typeof DeliveryParams> }>(
    '/notices/:noticeId/deliveries/:deliveryId/retry',
    {
      schema: {
        operationId: 'retryNoticeDelivery',
        summary: 'Send a notice again',
        description: 'At once, with all its tries, and the same event id as before. Not one that is cancelled.',
        tags,
        params: DeliveryParams,
        querystring: NoQuery,
        response: {
          202: answer('It is to be tried', 'NoticeDelivery'),
          ...problems(400, 401, 403, 404, 409, 413, 415, 500, 503)
        }
      }
    },
    async (request, reply) => {
      const db = tables.ofSite(request.params.siteId)
      const delivery = await sendAgain({ db, now }, request.params, auditContextOf(request))
      return reply.code(202).send(representDelivery(delivery))
    }
  )
}
