import type { FastifyInstance } from 'fastify'
import type { Static } from 'typebox'
import { etag, etagHeader, IfMatch } from '../../admin-api/if-match.ts'
import { jsonResponse, NoQuery, problemResponses } from '../../admin-api/responses.ts'
import { siteOf } from '../../admin-api/site.ts'
import { hangUpSignal } from '../../http/hang-up.ts'
import { IdempotencyKey } from '../idempotency/schemas.ts'
import { type OneRegistration, type RegistrationRoutesOptions, targetOf } from '../routes.ts'
import { RegistrationParams } from '../schemas.ts'
import { readUnusedFor, recentlyUsedResponse, UnusedForQuery } from '../unused-guard.ts'
import { OVERLAP_DEFAULT_SECONDS, RotateSecretSchema } from './schemas.ts'
import { retirePrevious, rotate } from './service.ts'

const tags = ['App registrations']

interface Rotation extends OneRegistration {
  Headers: OneRegistration['Headers'] & Static<typeof IdempotencyKey>
  Body: Static<typeof RotateSecretSchema>
}

/** Routes that rotate the secret of a registration of one Site. Register them where the Site has been checked. */
export async function rotationRoutes(app: FastifyInstance, options: RegistrationRoutesOptions): Promise<void> {
  app.addSchema(RotateSecretSchema)

  app.post<Rotation>(
    '/app-registrations/:clientId/rotate-secret',
    {
      config: { isBodyOptional: true },
      schema: {
        operationId: 'rotateClientSecret',
        summary: 'Rotate the Client secret',
        description:
          'Creates a new Client secret, which only this answer has. The previous secret is accepted for `overlapSeconds` more. As long as nobody has used the new secret, another rotation replaces it. Once both secrets are in use, a rotation is refused with 409, unless `overlapSeconds` is 0, which ends both at once. Nothing else of the registration changes. A retry with the same Idempotency-Key gets the same answer for 10 minutes.',
        tags,
        params: RegistrationParams,
        querystring: NoQuery,
        headers: { ...IfMatch, properties: { ...IfMatch.properties, ...IdempotencyKey.properties } },
        body: { $ref: 'RotateSecret' },
        response: {
          201: jsonResponse('The registration with its new Client secret', 'CreatedRegistration', etagHeader),
          ...problemResponses(400, 401, 403, 404, 409, 412, 413, 415, 422, 500, 503)
        }
      }
    },
    async (request, reply) => {
      const { overlapSeconds = OVERLAP_DEFAULT_SECONDS } = request.body
      const { body, version } = await rotate(siteOf(request), options, targetOf(request), overlapSeconds, {
        idempotencyKey: request.headers['idempotency-key'],
        signal: hangUpSignal(reply)
      })
      return reply.code(201).header('etag', etag(version)).send(body)
    }
  )

  app.delete<OneRegistration & { Querystring: Static<typeof UnusedForQuery> }>(
    '/app-registrations/:clientId/previous-credential',
    {
      schema: {
        operationId: 'retirePreviousCredential',
        summary: 'Retire the previous credential',
        description:
          'The credential before the latest rotation is refused from the next request on. The answer is 404 when no previous credential is accepted. With `unusedFor`, it is retired only when there was no exchange with it in this time.',
        tags,
        params: RegistrationParams,
        querystring: UnusedForQuery,
        headers: IfMatch,
        response: {
          204: { description: 'The previous credential is refused', type: 'null' },
          ...problemResponses(400, 401, 403, 404, 412, 413, 415, 500, 503),
          ...recentlyUsedResponse
        }
      }
    },
    async (request, reply) => {
      await retirePrevious(siteOf(request), options, targetOf(request), readUnusedFor(options, request.query))
      return reply.code(204).send()
    }
  )
}
