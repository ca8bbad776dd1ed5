import type { FastifyInstance } from 'fastify'
import type { Static } from 'typebox'
import { publicContextOf } from '../../admin-api/audit-context.ts'
import { readBearerToken } from '../../admin-api/bearer.ts'
import { IfMatch } from '../../admin-api/if-match.ts'
import { jsonResponse, NoQuery, problemResponses } from '../../admin-api/responses.ts'
import { ADMIN_PREFIX, siteOf } from '../../admin-api/site.ts'
import { hangUpSignal } from '../../http/hang-up.ts'
import { IdempotencyKey } from '../idempotency/schemas.ts'
import { type OneRegistration, targetOf } from '../routes.ts'
import { RegistrationParams } from '../schemas.ts'
import type { RegistrationOptions } from '../service.ts'
import { ClaimedCredentialsSchema, type ClaimInput, CreateClaimSchema } from './schemas.ts'
import { type ClaimOptions, claim, createClaim } from './service.ts'

const CLAIMS = '/claims'
export const CLAIMS_PATH = `${ADMIN_PREFIX}${CLAIMS}`

const tags = ['Claims']

/** Routes that make claim tickets for the registrations of one Site. Register them where the Site has been checked. */
export async function claimTicketRoutes(
  app: FastifyInstance,
  options: Pick<RegistrationOptions, 'now'>
): Promise<void> {
  app.addSchema(CreateClaimSchema)

  app.post<OneRegistration & { Body: ClaimInput }>(
    '/app-registrations/:clientId/claim',
    {
      config: { isBodyOptional: true },
      schema: {
        operationId: 'createClaim',
        summary: 'Create a claim ticket',
        description:
          'Makes a one-time right to get a new Client secret, which the administrator never sees. A new ticket ends the one before. Nothing else changes until the ticket is used.',
        tags,
        params: RegistrationParams,
        querystring: NoQuery,
        headers: IfMatch,
        body: { $ref: 'CreateClaim' },
        response: {
          201: jsonResponse('The ticket, which only this answer has', 'ClaimTicket'),
          ...problemResponses(400, 401, 403, 404, 412, 413, 415, 500, 503)
        }
      }
    },
    async (request, reply) => {
      const ticket = await createClaim(siteOf(request), options, targetOf(request), request.body)
      return reply.code(201).send(ticket)
    }
  )
}

/** Serves the claims of ticket holders. A link preview sends GET, which is refused and uses nothing up. */
export async function claimRoutes(app: FastifyInstance, options: ClaimOptions & { issuer: string }): Promise<void> {
  app.addSchema(ClaimedCredentialsSchema)

  app.post<{ Headers: Static<typeof IdempotencyKey> }>(
    CLAIMS,
    {
      schema: {
        operationId: 'claimCredentials',
        summary: 'Claim credentials with a ticket',
        description:
          'Exchanges a claim ticket, sent as a bearer token, for a new Client secret. A ticket works once. A retry with the same Idempotency-Key and the same ticket gets the same answer for 10 minutes. When the registration is disabled or has expired, the ticket stays valid.',
        tags,
        security: [{ claimTicket: [] }],
        querystring: NoQuery,
        headers: IdempotencyKey,
        response: {
          201: jsonResponse('The credentials', 'ClaimedCredentials'),
          ...problemResponses(400, 401, 409, 410, 413, 415, 422, 500, 503)
        }
      }
    },
    async (request, reply) => {
      const ticket = readBearerToken(request.headers.authorization)
      const credentials = await claim(options, ticket, publicContextOf(request, 'claim', options.issuer), {
        idempotencyKey: request.headers['idempotency-key'],
        signal: hangUpSignal(reply)
      })
      return reply.code(201).send(credentials)
    }
  )
}
