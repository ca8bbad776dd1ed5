import type { FastifyInstance } from 'fastify'
import type { Static } from 'typebox'
import { etag, etagHeader, IfMatch } from '../../admin-api/if-match.ts'
import { jsonResponse, NoQuery, problemResponses } from '../../admin-api/responses.ts'
import { siteOf } from '../../admin-api/site.ts'
import { hangUpSignal } from '../../http/hang-up.ts'
import { IdempotencyKey } from '../idempotency/schemas.ts'
import { credentialFaults } from '../new-credential.ts'
import { type OneRegistration, type RegistrationRoutesOptions, targetOf } from '../routes.ts'
import { RegistrationParams } from '../schemas.ts'
import { readUnusedFor, recentlyUsedResponse, UnusedForQuery } from '../unused-guard.ts'
import { RotateSecretSchema, type RotationInput } from './schemas.ts'
import { retirePrevious, rotate } from './service.ts'

const tags = ['App registrations']

interface Rotation extends OneRegistration {
  Headers: OneRegistration['Headers'] & Static<typeof IdempotencyKey>
  Body: RotationInput
}

/** Routes that rotate the credential of a registration of one Site. Register them where the Site has been checked. */
export async function rotationRoutes(app: FastifyInstance, options: RegistrationRoutesOptions): Promise<void> {
  app.addSchema(RotateSecretSchema)

  app.post<Rotation>(
    '/app-registrations/:clientId/rotate-secret',
    {
      config: { isBodyOptional: true, ruleFaults: (_request, body) => credentialFaults(options, body) },
      schema: {
        operationId: 'rotateClientSecret',
        summary: 'Rotate the credential',
        description:
          'Gives the registration a new credential: a public key, a federated subject, or a Client secret, which only this answer has. The previous credential is accepted for `overlapSeconds` more, whatever its kind. As long as nobody has used the new credential, another rotation replaces it. Once both credentials are in use, a rotation is refused with 409, unless `overlapSeconds` is 0, which ends both at once. With `mayIntrospect`, both count as in use, because introspections are not recorded. A rotation to the previous key or subject goes back to it. A rotation to the current one is refused with 409. An open claim ticket ends. Nothing else of the registration changes. A retry with the same Idempotency-Key gets the same answer for 10 minutes.',
        tags,
        params: RegistrationParams,
        querystring: NoQuery,
        headers: { ...IfMatch, properties: { ...IfMatch.properties, ...IdempotencyKey.properties } },
        body: { $ref: 'RotateSecret' },
        response: {
          201: jsonResponse('The registration with its new credential', 'CreatedRegistration', etagHeader),
          ...problemResponses(400, 401, 403, 404, 409, 412, 413, 415, 422, 500, 503)
        }
      }
    },
    async (request, reply) => {
      const { body, version } = await rotate(siteOf(request), options, targetOf(request), request.body, {
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
          'The credential before the latest rotation is refused from the next request on. The answer is 404 when no previous credential is accepted. With `unusedFor`, it is retired only when there was no exchange with it in this time, and never with `mayIntrospect`, because introspections are not recorded.',
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
