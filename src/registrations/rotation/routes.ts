import type { FastifyInstance } from 'fastify'
import type { Static } from 'typebox'
import { etag, etagHeader, IfMatch } from '../../admin-api/if-match.ts'
import { answer, NoQuery, problems } from '../../admin-api/responses.ts'
import { siteOf } from '../../admin-api/site.ts'
import { representRegistration } from '../representation.ts'
import { type RegistrationRoutesOptions, targetOf } from '../routes.ts'
import { OVERLAP_DEFAULT_SECONDS, RegistrationParams, RotateSecretSchema } from '../schemas.ts'
import { retirePrevious, rotate } from './service.ts'

type One = { Params: Static<typeof RegistrationParams>; Headers: Static<typeof IfMatch> }

const tags = ['App registrations']

/** The secrets of a registration: a new one, and the end of the one before. Register it where `siteId` has been checked. */
export async function rotationRoutes(app: FastifyInstance, options: RegistrationRoutesOptions): Promise<void> {
  app.addSchema(RotateSecretSchema)
  app.post<One & { Body: Static<typeof RotateSecretSchema> }>(
    '/app-registrations/:clientId/secret',
    {
      // Without a body all is as by default.
      preValidation: async request => {
        if (request.body === undefined) request.body = {}
      },
      schema: {
        operationId: 'rotateClientSecret',
        summary: 'Make a new Client secret',
        description:
          'The answer holds the new Client secret, this once. The one so far works on for overlapSeconds beside it. Until somebody has used the new one, another rotation takes its place; once both are in use it is refused. Nothing else of the registration changes.',
        tags,
        params: RegistrationParams,
        querystring: NoQuery,
        headers: IfMatch,
        body: { $ref: 'RotateSecret' },
        response: {
          201: answer('Made', 'CreatedRegistration', etagHeader),
          ...problems(400, 401, 403, 404, 409, 412, 413, 415, 500, 503)
        }
      }
    },
    async (request, reply) => {
      const { overlapSeconds = OVERLAP_DEFAULT_SECONDS } = request.body
      const { registration, clientSecret } = await rotate(siteOf(request), options, targetOf(request), overlapSeconds)
      reply.code(201).header('etag', etag(registration.version))
      return { ...representRegistration(registration, options.now()), clientSecret }
    }
  )

  app.delete<One>(
    '/app-registrations/:clientId/secret/previous',
    {
      schema: {
        operationId: 'retirePreviousSecret',
        summary: 'Retire the secret before the latest rotation',
        description: 'It is refused from the next request on. 404 when none works beside the Client secret.',
        tags,
        params: RegistrationParams,
        querystring: NoQuery,
        headers: IfMatch,
        response: {
          204: { description: 'Retired', type: 'null' },
          ...problems(400, 401, 403, 404, 412, 413, 415, 500, 503)
        }
      }
    },
    async (request, reply) => {
      await retirePrevious(siteOf(request), options, targetOf(request))
      return reply.code(204).send()
    }
  )
}
