import type { FastifyInstance } from 'fastify'
import type { Static } from 'typebox'
import { auditContextOf } from '../../admin-api/audit-context.ts'
import { jsonResponse, NoQuery, problemResponses } from '../../admin-api/responses.ts'
import { pathInSite, SiteParams, siteOf } from '../../admin-api/site.ts'
import { notFound } from '../../http/problem.ts'
import { findReceiver, listReceivers } from './repository.ts'
import { representReceiver } from './representation.ts'
import {
  ChangeReceiverSchema,
  CreateReceiverSchema,
  type NewReceiver,
  ReceiverListSchema,
  ReceiverParams,
  type ReceiverPatch,
  ReceiverSchema,
  ReceiverTestSchema,
  ReceiverWithSecretSchema
} from './schemas.ts'
import {
  changeReceiver,
  createReceiver,
  type ReceiverOptions,
  removeReceiver,
  rotateSigningSecret,
  testReceiver
} from './service.ts'
import { findRuleFaults } from './validation.ts'

type One = { Params: Static<typeof ReceiverParams> }

const tags = ['Notices']

/** Adds the notice receivers of one Site. Register it where `siteId` has been checked. */
export async function receiverRoutes(app: FastifyInstance, options: ReceiverOptions): Promise<void> {
  const { now } = options
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

  app.post<{ Body: NewReceiver }>(
    '/notice-receivers',
    {
      config: { ruleFaults: (_request, body) => findRuleFaults(options, Object(body).kind, body, true) },
      schema: {
        operationId: 'createNoticeReceiver',
        summary: 'Create a notice receiver',
        description:
          'Only this answer has the signing secret of a webhook. A webhook gets CloudEvents 1.0 events, signed by Standard Webhooks.',
        tags,
        params: SiteParams,
        querystring: NoQuery,
        body: { $ref: 'CreateNoticeReceiver' },
        response: {
          201: jsonResponse('The new receiver', 'NoticeReceiverWithSecret', {
            Location: { type: 'string', description: 'Path of the receiver' }
          }),
          ...problemResponses(400, 401, 403, 404, 409, 413, 415, 500, 503)
        }
      }
    },
    async (request, reply) => {
      const site = siteOf(request)
      const { receiver, signingSecret } = await createReceiver(site, options, request.body, auditContextOf(request))
      reply.code(201).header('location', pathInSite(site, `/notice-receivers/${receiver.id}`))
      return { ...representReceiver(receiver, now()), signingSecret }
    }
  )

  app.get(
    '/notice-receivers',
    {
      schema: {
        operationId: 'listNoticeReceivers',
        summary: "List a Site's notice receivers",
        tags,
        params: SiteParams,
        querystring: NoQuery,
        response: {
          200: jsonResponse('All receivers', 'NoticeReceiverList'),
          ...problemResponses(400, 401, 403, 404, 500, 503)
        }
      }
    },
    async request => {
      const { siteId, db } = siteOf(request)
      const at = now()
      return { items: (await listReceivers(db, siteId)).map(row => representReceiver(row, at)) }
    }
  )

  app.get<One>(
    '/notice-receivers/:receiverId',
    {
      schema: {
        operationId: 'getNoticeReceiver',
        summary: 'Get a notice receiver',
        tags,
        params: ReceiverParams,
        querystring: NoQuery,
        response: {
          200: jsonResponse('The receiver', 'NoticeReceiver'),
          ...problemResponses(400, 401, 403, 404, 500, 503)
        }
      }
    },
    async request => {
      const { siteId, db } = siteOf(request)
      const receiver = await findReceiver(db, siteId, request.params.receiverId)
      if (receiver === undefined) throw notFound()
      return representReceiver(receiver, now())
    }
  )

  app.patch<One & { Body: ReceiverPatch }>(
    '/notice-receivers/:receiverId',
    {
      config: {
        ruleFaults: async (request, body) => {
          const { siteId, db } = siteOf(request)
          const receiver = await findReceiver(db, siteId, Object(request.params).receiverId)
          return receiver === undefined ? [] : findRuleFaults(options, receiver.kind, body, false)
        }
      },
      schema: {
        operationId: 'changeNoticeReceiver',
        summary: 'Change a notice receiver',
        description: 'The kind of a receiver cannot change. Pending deliveries go to the new target.',
        tags,
        params: ReceiverParams,
        querystring: NoQuery,
        body: { $ref: 'ChangeNoticeReceiver' },
        response: {
          200: jsonResponse('The changed receiver', 'NoticeReceiver'),
          ...problemResponses(400, 401, 403, 404, 413, 415, 500, 503)
        }
      }
    },
    async request => {
      const { body, params } = request
      const context = auditContextOf(request)
      return representReceiver(await changeReceiver(siteOf(request), options, params.receiverId, body, context), now())
    }
  )

  app.delete<One>(
    '/notice-receivers/:receiverId',
    {
      schema: {
        operationId: 'deleteNoticeReceiver',
        summary: 'Delete a notice receiver',
        description: 'Pending deliveries to the receiver are cancelled.',
        tags,
        params: ReceiverParams,
        querystring: NoQuery,
        response: {
          204: { description: 'The receiver was deleted', type: 'null' },
          ...problemResponses(400, 401, 403, 404, 413, 415, 500, 503)
        }
      }
    },
    async (request, reply) => {
      await removeReceiver(siteOf(request), options, request.params.receiverId, auditContextOf(request))
      return reply.code(204).send()
    }
  )

  app.post<One>(
    '/notice-receivers/:receiverId/rotate-secret',
    {
      schema: {
        operationId: 'rotateNoticeReceiverSecret',
        summary: "Rotate a webhook's signing secret",
        description:
          'Only this answer has the new secret. The previous secret signs beside it for 24 hours. Another rotation within these 24 hours replaces the new secret and keeps the previous one.',
        tags,
        params: ReceiverParams,
        querystring: NoQuery,
        response: {
          200: jsonResponse('The receiver with its new secret', 'NoticeReceiverWithSecret'),
          ...problemResponses(400, 401, 403, 404, 409, 413, 415, 500, 503)
        }
      }
    },
    async request => {
      const { receiverId } = request.params
      const context = auditContextOf(request)
      const { receiver, signingSecret } = await rotateSigningSecret(siteOf(request), options, receiverId, context)
      return { ...representReceiver(receiver, now()), signingSecret }
    }
  )

  app.post<One>(
    '/notice-receivers/:receiverId/test',
    {
      schema: {
        operationId: 'testNoticeReceiver',
        summary: 'Send a test event',
        description:
          'grantd sends the event at once and answers with the result. It waits for the receiver as long as it would for a notice, and runs at most four tests of a Site at once.',
        tags,
        params: ReceiverParams,
        querystring: NoQuery,
        response: {
          200: jsonResponse('The result of the test', 'NoticeReceiverTest'),
          ...problemResponses(400, 401, 403, 404, 413, 415, 500, 503)
        }
      }
    },
    async request => {
      const { isDelivered, detail, eventId } = await testReceiver(siteOf(request), options, request.params.receiverId)
      return { delivered: isDelivered, detail, eventId }
    }
  )
}
