import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Static } from 'typebox'
import { auditContextOf } from '../admin-api/audit-context.ts'
import type { CursorKeys } from '../admin-api/cursor.ts'
import { etag, etagHeader, IfMatch } from '../admin-api/if-match.ts'
import { answer, NoQuery, problems } from '../admin-api/responses.ts'
import { pathInSite, SiteParams, siteOf, sitesOf } from '../admin-api/site.ts'
import { notFound } from '../http/problem.ts'
import { readRegistrationPage } from './listing.ts'
import { findRegistration, type Registration } from './repository.ts'
import { representRegistration } from './representation.ts'
import {
  ChangeRegistrationSchema,
  CreatedRegistrationSchema,
  CreateRegistrationSchema,
  IdempotencyKey,
  ListAllQuery,
  ListQuery,
  type NewRegistration,
  RegistrationOfSitePageSchema,
  RegistrationOfSiteSchema,
  RegistrationPageSchema,
  RegistrationParams,
  RegistrationSchema
} from './schemas.ts'
import {
  changeRegistration,
  createRegistration,
  type RegistrationOptions,
  removeRegistration,
  type Target
} from './service.ts'

export interface RegistrationRoutesOptions extends RegistrationOptions {
  /** Keys that sign the cursors of listings, the same on every instance. */
  cursorKeys: CursorKeys
}

type Site = { Params: Static<typeof SiteParams> }
type One = { Params: Static<typeof RegistrationParams>; Headers: Static<typeof IfMatch> }

const tags = ['App registrations']

/** Registrations of one Site. Register it where `siteId` has been checked. */
export async function siteRegistrationRoutes(app: FastifyInstance, options: RegistrationRoutesOptions): Promise<void> {
  const { cursorKeys, now } = options
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
      const site = siteOf(request)
      const { registration, clientSecret } = await createRegistration(
        site,
        options,
        request.body,
        auditContextOf(request),
        request.headers['idempotency-key']
      )
      reply.code(201).header('location', pathInSite(site, `/app-registrations/${registration.client_id}`))
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
    async request => {
      const at = now()
      const { rows, nextCursor } = await readRegistrationPage(cursorKeys, siteOf(request), request.query, at)
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
    async (request, reply) => {
      const registration = await findRegistration(siteOf(request), request.params.clientId)
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
      const registration = await changeRegistration(siteOf(request), options, targetOf(request), request.body)
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
      await removeRegistration(siteOf(request), options, targetOf(request))
      return reply.code(204).send()
    }
  )
}

/** Registrations of all Sites. Register it where the caller is known to be a Global Administrator. */
export async function allRegistrationRoutes(
  app: FastifyInstance,
  { cursorKeys, now }: RegistrationRoutesOptions
): Promise<void> {
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
    async request => {
      const at = now()
      const { query } = request
      const sites = { ...sitesOf(request), siteId: query.siteId }
      const { rows, nextCursor } = await readRegistrationPage(cursorKeys, sites, query, at)
      return { items: rows.map(row => ({ siteId: row.site_id, ...representRegistration(row, at) })), nextCursor }
    }
  )
}

/** Returns what a request changes, from its path, its `If-Match` header and its administrator. */
export function targetOf(request: FastifyRequest<One>): Target {
  return {
    clientId: request.params.clientId,
    ifMatch: request.headers['if-match'],
    context: auditContextOf(request)
  }
}

function withEtag(reply: FastifyReply, { version }: Registration): FastifyReply {
  return reply.header('etag', etag(version))
}
