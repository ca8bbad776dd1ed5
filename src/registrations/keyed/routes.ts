import type { FastifyInstance } from 'fastify'
import type { Static } from 'typebox'
import { auditContextOf } from '../../admin-api/audit-context.ts'
import { etag, etagHeader, IfMatch } from '../../admin-api/if-match.ts'
import { jsonResponse, NoQuery, problemResponses } from '../../admin-api/responses.ts'
import { pathInSite, siteOf } from '../../admin-api/site.ts'
import { invalidRequest } from '../../admin-api/validation.ts'
import { hangUpSignal } from '../../http/hang-up.ts'
import { notFound } from '../../http/problem.ts'
import { representRegistration } from '../representation.ts'
import type { RegistrationRoutesOptions } from '../routes.ts'
import { removeRegistration } from '../service.ts'
import { readUnusedFor, recentlyUsedResponse, UnusedForQuery } from '../unused-guard.ts'
import type { Declaration } from './declaration.ts'
import { keyFaults } from './key.ts'
import { findKeyed } from './repository.ts'
import { KeyParams, PutHeaders, PutKeyParams, PutQuery, PutRegistrationSchema } from './schemas.ts'
import { faultsOfPut, lockOfKey, putRegistration } from './service.ts'

const PATH = '/keyed-app-registrations/:key'
const tags = ['App registrations']

interface OneKey {
  Params: Static<typeof KeyParams>
  Headers: Static<typeof IfMatch>
}

/** Routes of the registrations that have a key, in one Site. Register them where the Site has been checked. */
export async function keyedRegistrationRoutes(app: FastifyInstance, options: RegistrationRoutesOptions): Promise<void> {
  app.addSchema(PutRegistrationSchema)

  app.put<{
    Params: Static<typeof PutKeyParams>
    Headers: Static<typeof PutHeaders>
    Querystring: Static<typeof PutQuery>
    Body: Declaration
  }>(
    PATH,
    {
      config: {
        ruleFaults: (request, body) => faultsOfPut(siteOf(request), options, Object(request.params).key, body)
      },
      schema: {
        operationId: 'putKeyedAppRegistration',
        summary: 'Put an App registration by its key',
        description:
          'Creates the registration of this key, or makes the existing one what the body says. The same body again changes nothing: it moves no version and leaves no audit event. A PUT never rotates, so that another credential than the present one is 409 `credential_differs`. Only the 201 has a secret or a claim ticket, and the answer to a retry with the same Idempotency-Key within 10 minutes. `expiresAt` moves back only with `allowShorter`, and a disabled registration is enabled only by `"enabled": true`.',
        tags,
        params: PutKeyParams,
        querystring: PutQuery,
        headers: PutHeaders,
        body: { $ref: 'PutRegistration' },
        response: {
          200: jsonResponse(
            'The registration that existed, or that a dry run would create',
            'Registration',
            etagHeader
          ),
          201: jsonResponse(
            'The new registration, with its Client secret if that is its credential',
            'CreatedRegistration',
            { ...etagHeader, Location: { type: 'string', description: 'Path of the registration by its client id' } }
          ),
          ...problemResponses(400, 401, 403, 404, 409, 412, 413, 415, 422, 500, 503)
        }
      }
    },
    async (request, reply) => {
      const { params, headers, query, body: declaration } = request
      const { key } = params
      const faults = keyFaults(key)
      if (faults.length > 0) throw invalidRequest(faults)
      const site = siteOf(request)
      const { allowShorter = false, dryRun = false } = query
      const conditions = { ifMatch: headers['if-match'], ifNoneMatch: headers['if-none-match'] }
      const { body, version, isCreated } = await putRegistration(
        site,
        options,
        { key, declaration, allowShorter, dryRun, ...conditions },
        {
          context: auditContextOf(request),
          idempotencyKey: headers['idempotency-key'],
          signal: hangUpSignal(reply)
        }
      )
      if (isCreated && !dryRun) {
        reply.code(201).header('location', pathInSite(site, `/app-registrations/${body.clientId}`))
      }
      return reply.header('etag', etag(version)).send(body)
    }
  )

  app.get<OneKey>(
    PATH,
    {
      schema: {
        operationId: 'getKeyedAppRegistration',
        summary: 'Get an App registration by its key',
        description: 'Returns the registration with its state now.',
        tags,
        params: KeyParams,
        querystring: NoQuery,
        response: {
          200: jsonResponse('The registration', 'Registration', etagHeader),
          ...problemResponses(400, 401, 403, 404, 500, 503)
        }
      }
    },
    async (request, reply) => {
      const registration = await findKeyed(siteOf(request), request.params.key)
      if (registration === undefined) throw notFound()
      return reply.header('etag', etag(registration.version)).send(representRegistration(registration, options.now()))
    }
  )

  app.delete<OneKey & { Querystring: Static<typeof UnusedForQuery> }>(
    PATH,
    {
      schema: {
        operationId: 'deleteKeyedAppRegistration',
        summary: 'Delete an App registration by its key',
        description:
          'Deletes the registration as `deleteAppRegistration` does. From then on, the key is free for another registration, which gets another client id.',
        tags,
        params: KeyParams,
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
      const site = siteOf(request)
      const { params, headers, query } = request
      const unusedForMs = readUnusedFor(options, query)
      const target = lockOfKey(site, params.key, headers['if-match'])
      await removeRegistration(site, options, target, auditContextOf(request), unusedForMs)
      return reply.code(204).send()
    }
  )
}
