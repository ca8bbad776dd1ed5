import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Static } from 'typebox'
import type { CursorKeys } from '../admin-api/cursor.ts'
import { etag } from '../admin-api/if-match.ts'
import { answer, problems } from '../admin-api/responses.ts'
import { SiteParams } from '../admin-api/site.ts'
import type { Origin } from '../audit/record.ts'
import type { Tables } from '../database/site-scoped-pool.ts'
import { notFound } from '../http/problem.ts'
import { readPage } from './listing.ts'
import { findRegistration, type Registration } from './repository.ts'
import { representRegistration } from './representation.ts'
import {
  ChangeRegistrationSchema,
  CreatedRegistrationSchema,
  CreateRegistrationSchema,
  IdempotencyKey,
  IfMatch,
  ListAllQuery,
  ListQuery,
  type NewRegistration,
  NoQuery,
  RegistrationOfSitePageSchema,
  RegistrationOfSiteSchema,
  RegistrationPageSchema,
  RegistrationParams,
  RegistrationSchema
} from './schemas.ts'
import { changeRegistration, createRegistration, type RegistrationNeeds, removeRegistration } from './service.ts'

/** What the routes need: what the service needs in any Site, and more. */
export interface RegistrationRoutesNeeds extends Omit<RegistrationNeeds, 'db'> {
  tables: Tables
  /** Sign the cursors of listings; the same on every instance. */
  cursorKeys: CursorKeys
  /** Who sent this request, for the audit. */
  originOf: (request: FastifyRequest) => Origin
}

type Site = { Params: Static<typeof SiteParams> }
type One = { Params: Static<typeof RegistrationParams>; Headers: Static<typeof IfMatch> }

const tags = ['App registrations']
const etagHeader = { ETag: { type: 'string', description: 'Version of the registration, for If-Match' } }

/** Registrations of one Site. Register it where `siteId` has been checked. */
export async function siteRegistrationRoutes(app: FastifyInstance, needs: RegistrationRoutesNeeds): Promise<void> {
  const { tables, now, originOf } = needs
  const inSite = (siteId: string) => ({ ...needs, db: tables.ofSite(siteId) })
  for (const schema of [
    RegistrationSchema,
    CreatedRegistrationSchema,
    CreateRegistrationSchema,
    ChangeRegistrationSchema,
    RegistrationPageSchema
  ]) {
    app.addSchema(schema)
  }

  app.post<Site & { Body: NewRegistration; Headers: Static<typeof IdempotencyKey> }>(
    '/app-registrations',
    {
      schema: {
        operationId: 'createAppRegistration',
        summary: 'Make a registration',
        description:
          'The answer holds the Client secret, this once. The pair works from the next request on. A retry with the same Idempotency-Key tells what the first try made, even when it has been changed or deleted since; errors are not remembered.',
        tags,
        params: SiteParams,
        querystring: NoQuery,
        headers: IdempotencyKey,
        body: { $ref: 'CreateRegistration' },
        response: {
          201: answer('Made', 'CreatedRegistration', {
            ...etagHeader,
            Location: { type: 'string', description: 'Path of the registration' }
          }),
          ...problems(400, 401, 403, 404, 409, 413, 415, 422, 500, 503)
        }
      }
    },
    async (request, reply) => {
      const { siteId } = request.params
      const { registration, clientSecret } = await createRegistration(
        inSite(siteId),
        siteId,
        request.body,
        originOf(request),
        request.headers['idempotency-key']
      )
      reply.code(201).header('location', `/v1/sites/${siteId}/app-registrations/${registration.client_id}`)
      // As of then, so that a retry gets the same bytes.
      const represented = representRegistration(registration, registration.registered_at.getTime())
      return withEtag(reply, registration).send({ ...represented, clientSecret })
    }
  )

  app.get<Site & { Querystring: Static<typeof ListQuery> }>(
    '/app-registrations',
    {
      schema: {
        operationId: 'listAppRegistrations',
        summary: "List a Site's registrations",
        description: 'Pages by cursor, name ascending unless told otherwise.',
        tags,
        params: SiteParams,
        querystring: ListQuery,
        response: { 200: answer('A page', 'RegistrationPage'), ...problems(400, 401, 403, 404, 500, 503) }
      }
    },
    async ({ params: { siteId }, query }) => {
      const at = now()
      const { rows, nextCursor } = await readPage(inSite(siteId), siteId, query, at)
      return { items: rows.map(row => representRegistration(row, at)), nextCursor }
    }
  )

  app.get<One>(
    '/app-registrations/:clientId',
    {
      schema: {
        operationId: 'getAppRegistration',
        summary: 'Read a registration',
        tags,
        params: RegistrationParams,
        querystring: NoQuery,
        response: {
          200: answer('The registration', 'Registration', etagHeader),
          ...problems(400, 401, 403, 404, 500, 503)
        }
      }
    },
    async ({ params: { siteId, clientId } }, reply) => {
      const registration = await findRegistration(tables.ofSite(siteId), siteId, clientId)
      if (registration === undefined) throw notFound()
      return withEtag(reply, registration).send(representRegistration(registration, now()))
    }
  )

  app.patch<One & { Body: Static<typeof ChangeRegistrationSchema> }>(
    '/app-registrations/:clientId',
    {
      schema: {
        operationId: 'changeAppRegistration',
        summary: 'Change or renew a registration',
        description:
          'Renewing is moving expiresAt forward, before or after expiry: the same client id, the same secret. To stop a registration, disable or delete it.',
        tags,
        params: RegistrationParams,
        querystring: NoQuery,
        headers: IfMatch,
        body: { $ref: 'ChangeRegistration' },
        response: {
          200: answer('As it is now', 'Registration', etagHeader),
          ...problems(400, 401, 403, 404, 412, 413, 415, 500, 503)
        }
      }
    },
    async (request, reply) => {
      const { siteId, clientId } = request.params
      const ifMatch = request.headers['if-match']
      const registration = await changeRegistration(
        inSite(siteId),
        siteId,
        clientId,
        request.body,
        ifMatch,
        originOf(request)
      )
      return withEtag(reply, registration).send(representRegistration(registration, now()))
    }
  )

  app.delete<One>(
    '/app-registrations/:clientId',
    {
      schema: {
        operationId: 'deleteAppRegistration',
        summary: 'Delete a registration',
        description:
          'Client id and secret are refused from the next request on; the client id is never given out again.',
        tags,
        params: RegistrationParams,
        querystring: NoQuery,
        headers: IfMatch,
        response: {
          204: { description: 'Gone', type: 'null' },
          ...problems(400, 401, 403, 404, 412, 413, 415, 500, 503)
        }
      }
    },
    async (request, reply) => {
      const { siteId, clientId } = request.params
      await removeRegistration(inSite(siteId), siteId, clientId, request.headers['if-match'], originOf(request))
      return reply.code(204).send()
    }
  )
}

/** Registrations of all Sites. Register it where the caller is known to be a Global Administrator. */
export async function allRegistrationRoutes(app: FastifyInstance, needs: RegistrationRoutesNeeds): Promise<void> {
  app.addSchema(RegistrationOfSiteSchema)
  app.addSchema(RegistrationOfSitePageSchema)

  app.get<{ Querystring: Static<typeof ListAllQuery> }>(
    '/app-registrations',
    {
      schema: {
        operationId: 'listAllAppRegistrations',
        summary: 'List the registrations of all Sites',
        description: 'For Global Administrators.',
        tags,
        querystring: ListAllQuery,
        response: { 200: answer('A page', 'RegistrationOfSitePage'), ...problems(400, 401, 403, 500, 503) }
      }
    },
    async ({ query }) => {
      const at = needs.now()
      const { rows, nextCursor } = await readPage({ ...needs, db: needs.tables.ofAllSites }, query.siteId, query, at)
      return { items: rows.map(row => ({ siteId: row.site_id, ...representRegistration(row, at) })), nextCursor }
    }
  )
}

function withEtag(reply: FastifyReply, { version }: Registration): FastifyReply {
  return reply.header('etag', etag(version))
}
