import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Static } from 'typebox'
import { auditContextOf } from '../admin-api/audit-context.ts'
import type { CursorKeys } from '../admin-api/cursor.ts'
import { etag, etagHeader, IfMatch } from '../admin-api/if-match.ts'
import { jsonResponse, NoQuery, problemResponses } from '../admin-api/responses.ts'
import { pathInSite, SiteParams, siteOf, sitesOf } from '../admin-api/site.ts'
import { hangUpSignal } from '../http/hang-up.ts'
import { notFound } from '../http/problem.ts'
import { lockOf, type Target } from './changes.ts'
import { ClaimTicketSchema } from './claims/schemas.ts'
import { type CreateInput, createRegistration, faultsOfCreate } from './creation/service.ts'
import { CREDENTIAL_SCHEMAS } from './credential-schemas.ts'
import type { RegistrationFields } from './fields.ts'
import { IdempotencyKey } from './idempotency/schemas.ts'
import { readRegistrationPage } from './listing/page.ts'
import { findRegistration, type Registration } from './repository.ts'
import { representRegistration } from './representation.ts'
import {
  ChangeRegistrationSchema,
  CreatedRegistrationSchema,
  CreateRegistrationSchema,
  ListAllQuery,
  ListQuery,
  RegistrationOfSitePageSchema,
  RegistrationOfSiteSchema,
  RegistrationPageSchema,
  RegistrationParams,
  RegistrationSchema
} from './schemas.ts'
import { changeRegistration, faultsOfChange, type RegistrationOptions, removeRegistration } from './service.ts'
import { RecentlyUsedSchema, readUnusedFor, recentlyUsedResponse, UnusedForQuery } from './unused-guard.ts'

export interface RegistrationRoutesOptions extends RegistrationOptions {
  /** Keys that sign the cursors of listings, the same on every instance. */
  cursorKeys: CursorKeys
  /** Whether exchanges are recorded. Without the last-used plugin they are not. */
  recordsUse: boolean
}

interface OfSite {
  Params: Static<typeof SiteParams>
}

export interface OneRegistration {
  Params: Static<typeof RegistrationParams>
  Headers: Static<typeof IfMatch>
}

const tags = ['App registrations']

/** Routes of the registrations of one Site. Register them where the Site has been checked. */
export async function siteRegistrationRoutes(app: FastifyInstance, options: RegistrationRoutesOptions): Promise<void> {
  const { cursorKeys, now } = options
  for (const schema of [
    ...CREDENTIAL_SCHEMAS,
    ClaimTicketSchema,
    RegistrationSchema,
    CreatedRegistrationSchema,
    CreateRegistrationSchema,
    ChangeRegistrationSchema,
    RegistrationPageSchema,
    RecentlyUsedSchema
  ]) {
    app.addSchema(schema)
  }

  // The schema's defaults complete the body.
  app.post<OfSite & { Body: CreateInput; Headers: Static<typeof IdempotencyKey> }>(
    '/app-registrations',
    {
      config: { ruleFaults: (_request, body) => faultsOfCreate(options, body) },
      schema: {
        operationId: 'createAppRegistration',
        summary: 'Create an App registration',
        description:
          'Creates a registration with the credential in the body, or with a Client secret, which only this answer has. The registration works from the next token request on. A retry with the same Idempotency-Key gets the same answer for 10 minutes, even when the registration was changed or deleted since. Answers with an error are not stored.',
        tags,
        params: SiteParams,
        querystring: NoQuery,
        headers: IdempotencyKey,
        body: { $ref: 'CreateRegistration' },
        response: {
          201: jsonResponse(
            'The registration, with its Client secret if that is its credential',
            'CreatedRegistration',
            {
              ...etagHeader,
              Location: { type: 'string', description: 'Path of the registration' }
            }
          ),
          ...problemResponses(400, 401, 403, 404, 409, 413, 415, 422, 500, 503)
        }
      }
    },
    async (request, reply) => {
      const site = siteOf(request)
      const { body, version } = await createRegistration(site, options, request.body, {
        context: auditContextOf(request),
        idempotencyKey: request.headers['idempotency-key'],
        signal: hangUpSignal(reply)
      })
      return reply
        .code(201)
        .headers({ location: pathInSite(site, `/app-registrations/${body.clientId}`), etag: etag(version) })
        .send(body)
    }
  )

  app.get<OfSite & { Querystring: Static<typeof ListQuery> }>(
    '/app-registrations',
    {
      schema: {
        operationId: 'listAppRegistrations',
        summary: 'List the App registrations of a Site',
        description: 'Returns a page. `nextCursor` leads to the next page.',
        tags,
        params: SiteParams,
        querystring: ListQuery,
        response: {
          200: jsonResponse('A page of registrations', 'RegistrationPage'),
          ...problemResponses(400, 401, 403, 404, 500, 503)
        }
      }
    },
    async request => {
      const at = now()
      const { rows, nextCursor } = await readRegistrationPage(cursorKeys, siteOf(request), request.query, at)
      return { items: rows.map(row => representRegistration(row, at)), nextCursor }
    }
  )

  app.get<OneRegistration>(
    '/app-registrations/:clientId',
    {
      schema: {
        operationId: 'getAppRegistration',
        summary: 'Get an App registration',
        description: 'Returns the registration with its state now.',
        tags,
        params: RegistrationParams,
        querystring: NoQuery,
        response: {
          200: jsonResponse('The registration', 'Registration', etagHeader),
          ...problemResponses(400, 401, 403, 404, 500, 503)
        }
      }
    },
    async (request, reply) => {
      const registration = await findRegistration(siteOf(request), request.params.clientId)
      if (registration === undefined) throw notFound()
      return withEtag(reply, registration).send(representRegistration(registration, now()))
    }
  )

  app.patch<OneRegistration & { Body: Partial<RegistrationFields> }>(
    '/app-registrations/:clientId',
    {
      config: {
        ruleFaults: (request, body) => faultsOfChange(siteOf(request), options, Object(request.params).clientId, body)
      },
      schema: {
        operationId: 'changeAppRegistration',
        summary: 'Change or renew an App registration',
        description:
          'Changes the fields in the body. Moving `expiresAt` forward renews the registration, before or after its expiry: the client id and the credentials stay. To stop a registration, disable or delete it.',
        tags,
        params: RegistrationParams,
        querystring: NoQuery,
        headers: IfMatch,
        body: { $ref: 'ChangeRegistration' },
        response: {
          200: jsonResponse('The changed registration', 'Registration', etagHeader),
          ...problemResponses(400, 401, 403, 404, 412, 413, 415, 500, 503)
        }
      }
    },
    async (request, reply) => {
      const registration = await changeRegistration(siteOf(request), options, targetOf(request), request.body)
      return withEtag(reply, registration).send(representRegistration(registration, now()))
    }
  )

  app.delete<OneRegistration & { Querystring: Static<typeof UnusedForQuery> }>(
    '/app-registrations/:clientId',
    {
      schema: {
        operationId: 'deleteAppRegistration',
        summary: 'Delete an App registration',
        description:
          'The token endpoint refuses the client from the next request on. The client id is never used again. With `unusedFor`, the registration is deleted only when there was no exchange in this time. For a registration that was never used, the time since `registeredAt` counts. One with `mayIntrospect` is not deleted with `unusedFor`, because introspections are not recorded.',
        tags,
        params: RegistrationParams,
        querystring: UnusedForQuery,
        headers: IfMatch,
        response: {
          204: { description: 'The registration is deleted', type: 'null' },
          ...problemResponses(400, 401, 403, 404, 412, 413, 415, 500, 503),
          ...recentlyUsedResponse
        }
      }
    },
    async (request, reply) => {
      const [site, target] = [siteOf(request), targetOf(request)]
      const unusedForMs = readUnusedFor(options, request.query)
      await removeRegistration(site, options, lockOf(site, target), target.context, unusedForMs)
      return reply.code(204).send()
    }
  )
}

/** Routes of the registrations of all Sites. Register them where the caller is known to be a Global Administrator. */
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
        summary: 'List the App registrations of all Sites',
        description: 'Returns a page to a Global Administrator. `nextCursor` leads to the next page.',
        tags,
        querystring: ListAllQuery,
        response: {
          200: jsonResponse('A page of registrations', 'RegistrationOfSitePage'),
          ...problemResponses(400, 401, 403, 500, 503)
        }
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
export function targetOf(request: FastifyRequest<OneRegistration>): Target {
  return {
    clientId: request.params.clientId,
    ifMatch: request.headers['if-match'],
    context: auditContextOf(request)
  }
}

function withEtag(reply: FastifyReply, { version }: Registration): FastifyReply {
  return reply.header('etag', etag(version))
}
