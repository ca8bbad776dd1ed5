import type { FastifyInstance } from 'fastify'
import type { Static } from 'typebox'
import { auditContextOf } from '../../admin-api/audit-context.ts'
import { answer, NoQuery, problems } from '../../admin-api/responses.ts'
import { SiteParams } from '../../admin-api/site.ts'
import type { Tables } from '../../database/site-scoped-pool.ts'
import { notFound } from '../../http/problem.ts'
import { findReceiver, listReceivers } from './repository.ts'
import { representReceiver } from './representation.ts'
import {
  ChangeReceiverSchema,
  CreateReceiverSchema,
  ReceiverListSchema,
  ReceiverParams,
  ReceiverSchema,
  ReceiverTestSchema,
  ReceiverWithSecretSchema
} from './schemas.ts'
import {
  changeReceiver,
  createReceiver,
  type ReceiverNeeds,
  removeReceiver,
  rotateSecret,
  testReceiver
} from './service.ts'

type Site = { Params: Static<typeof SiteParams> }
type One = { Params: Static<typeof ReceiverParams> }

const tags = ['Notices']

/** What the routes need: what the service needs in any Site. */
export interface ReceiverRoutesNeeds extends Omit<ReceiverNeeds, 'db'> {
  tables: Tables
}

/** Notice receivers of one Site. Register it where `siteId` has been checked. */
export async function receiverRoutes(app: FastifyInstance, needs: ReceiverRoutesNeeds): Promise<void> {
  const { tables, now } = needs
  const inSite = (siteId: string) => ({ ...needs, db: tables.ofSite(siteId) })
  for (const schema of [
    ReceiverSchema,
    ReceiverWithSecretSchema,
    CreateReceiverSchema,
    ChangeReceiverSchema,
    ReceiverListSchema,
    ReceiverTestSchema
  ]) {
    app.addSchema(schema)
  }

  app.post<Site & { Body: Static<typeof CreateReceiverSchema> }>(
    '/notice-receivers',
    {
      schema: {
        operationId: 'createNoticeReceiver',
        summary: 'Make a notice receiver',
        description:
          "A webhook's answer holds its signing secret, this once. Webhooks get CloudEvents 1.0, signed by Standard Webhooks.",
        tags,
        params: SiteParams,
        querystring: NoQuery,
        body: { $ref: 'CreateNoticeReceiver' },
        response: {
          201: answer('Made', 'NoticeReceiverWithSecret', {
            Location: { type: 'string', description: 'Path of the receiver' }
          }),
          ...problems(400, 401, 403, 404, 409, 413, 415, 500, 503)
        }
      }
    },
    async (request, reply) => {
      const { siteId } = request.params
      const { receiver, signingSecret } = await createReceiver(
        inSite(siteId),
        siteId,
        request.body,
        auditContextOf(request)
      )
      reply.code(201).header('location', `/v1/sites/${siteId}/notice-receivers/${receiver.id}`)
      return { ...representReceiver(receiver, now()), signingSecret }
    }
  )

  app.get<Site>(
    '/notice-receivers',
    {
      schema: {
        operationId: 'listNoticeReceivers',
        summary: "List a Site's notice receivers",
        tags,
        params: SiteParams,
        querystring: NoQuery,
        response: { 200: answer('All of them', 'NoticeReceiverList'), ...problems(400, 401, 403, 404, 500, 503) }
      }
    },
    async ({ params: { siteId } }) => {
      const at = now()
      return { items: (await listReceivers(tables.ofSite(siteId), siteId)).map(row => representReceiver(row, at)) }
    }
  )

  app.get<One>(
    '/notice-receivers/:receiverId',
    {
      schema: {
        operationId: 'getNoticeReceiver',
        summary: 'Read a notice receiver',
        tags,
        params: ReceiverParams,
        querystring: NoQuery,
        response: { 200: answer('The receiver', 'NoticeReceiver'), ...problems(400, 401, 403, 404, 500, 503) }
      }
    },
    async ({ params: { siteId, receiverId } }) => {
      const receiver = await findReceiver(tables.ofSite(siteId), siteId, receiverId)
      if (receiver === undefined) throw notFound()
      return representReceiver(receiver, now())
    }
  )

  app.patch<One & { Body: Static<typeof ChangeReceiverSchema> }>(
    '/notice-receivers/:receiverId',
    {
      schema: {
        operationId: 'changeNoticeReceiver',
        summary: 'Change a notice receiver',
        description: 'Its kind stays. What is still to be delivered goes where it is then.',
        tags,
        params: ReceiverParams,
        querystring: NoQuery,
        body: { $ref: 'ChangeNoticeReceiver' },
        response: {
          200: answer('As it is now', 'NoticeReceiver'),
          ...problems(400, 401, 403, 404, 413, 415, 500, 503)
        }
      }
    },
    async request => {
      const { siteId, receiverId } = request.params
      const receiver = await changeReceiver(inSite(siteId), siteId, receiverId, request.body, auditContextOf(request))
      return representReceiver(receiver, now())
    }
  )

  app.delete<One>(
    '/notice-receivers/:receiverId',
    {
      schema: {
        operationId: 'deleteNoticeReceiver',
        summary: 'Delete a notice receiver',
        description: 'What was not yet delivered to it is cancelled.',
        tags,
        params: ReceiverParams,
        querystring: NoQuery,
        response: {
          204: { description: 'Gone', type: 'null' },
          ...problems(400, 401, 403, 404, 413, 415, 500, 503)
        }
      }
    },
    async (request, reply) => {
      const { siteId, receiverId } = request.params
      await removeReceiver(inSite(siteId), siteId, receiverId, auditContextOf(request))
      return reply.code(204).send()
    }
  )

  app.post<One>(
    '/notice-receivers/:receiverId/rotate-secret',
    {
      schema: {
        operationId: 'rotateNoticeReceiverSecret',
        summary: 'Give a webhook a new signing secret',
        description:
          'The answer holds it, this once. The one before goes on signing beside it for 24 hours. Once more within them makes another in place of the new one.',
        tags,
        params: ReceiverParams,
        querystring: NoQuery,
        response: {
          200: answer('With its new secret', 'NoticeReceiverWithSecret'),
          ...problems(400, 401, 403, 404, 409, 413, 415, 500, 503)
        }
      }
    },
    async request => {
      const { siteId, receiverId } = request.params
      const { receiver, signingSecret } = await rotateSecret(
        inSite(siteId),
        siteId,
        receiverId,
        auditContextOf(request)
      )
      return { ...representReceiver(receiver, now()), signingSecret }
    }
  )

  app.post<One>(
    '/notice-receivers/:receiverId/test',
    {
      schema: {
        operationId: 'testNoticeReceiver',
        summary: 'Send a test event now',
        description: 'Waits for what the receiver says, at most as long as a notice would.',
        tags,
        params: ReceiverParams,
        querystring: NoQuery,
        response: {
          200: answer('What became of it', 'NoticeReceiverTest'),
          ...problems(400, 401, 403, 404, 413, 415, 500, 503)
        }
      }
    },
    async ({ params: { siteId, receiverId } }) => {
      const { isDelivered, detail, eventId } = await testReceiver(inSite(siteId), siteId, receiverId)
      return { delivered: isDelivered, detail, eventId }
    }
  )
}
