import type { FastifyInstance } from 'fastify'
import { etag, etagHeader, IfMatch } from '../../admin-api/if-match.ts'
import { instantOrNull } from '../../admin-api/instant.ts'
import { jsonResponse, NoQuery, problemResponses } from '../../admin-api/responses.ts'
import { siteOf } from '../../admin-api/site.ts'
import { type OneRegistration, targetOf } from '../routes.ts'
import { RegistrationParams } from '../schemas.ts'
import type { RegistrationOptions } from '../service.ts'
import { TokenCutOffSchema } from './schemas.ts'
import { revokeTokens } from './service.ts'

/** Routes that stop the tokens of a registration of one Site. Register them where the Site has been checked. */
export async function tokenRevocationRoutes(
  app: FastifyInstance,
  options: Pick<RegistrationOptions, 'now' | 'onChanged'>
): Promise<void> {
  app.addSchema(TokenCutOffSchema)

  app.post<OneRegistration>(
    '/app-registrations/:clientId/revoke-tokens',
    {
      schema: {
        operationId: 'revokeTokens',
        summary: 'Revoke the access tokens of an App registration',
        description:
          'Stops every access token that the registration has obtained so far. Introspection answers that they are not active, from the next request on. A resource server that verifies tokens offline accepts each of them until it expires. The answer comes when `tokensValidFrom` has come, after a second at most. The client can obtain tokens as before: to keep it from doing so, disable the registration or rotate its credential.',
        tags: ['App registrations'],
        params: RegistrationParams,
        querystring: NoQuery,
        headers: IfMatch,
        response: {
          200: jsonResponse('The instant from which tokens are active', 'TokenCutOff', etagHeader),
          ...problemResponses(400, 401, 403, 404, 412, 413, 415, 500, 503)
        }
      }
    },
    async (request, reply) => {
      const cutOff = await revokeTokens(siteOf(request), options, targetOf(request))
      return reply
        .header('etag', etag(cutOff.version))
        .send({ tokensValidFrom: instantOrNull(cutOff.tokens_valid_from) })
    }
  )
}
