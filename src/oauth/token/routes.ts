import type { FastifyInstance } from 'fastify'
import type { Static } from 'typebox'
import { jsonResponse } from '../../admin-api/responses.ts'
import { setOutcome } from '../../http/outcome.ts'
import { sourceOf } from '../../http/source.ts'
import { EXPIRING_MS } from '../../registrations/lifecycle.ts'
import {
  CLIENT_ENDPOINT,
  type FormBody,
  NOT_STORED_HEADER,
  noteClient,
  notStored,
  OAUTH_PREFIX,
  oauthErrors,
  prepareEndpointScope,
  queryOf
} from '../endpoint-scope.ts'
import { type Exchange, type ExchangeOptions, exchange } from './exchange.ts'
import { readTokenRequest } from './request.ts'
import { DpopHeader, TokenRequestSchema, TokenResponseSchema } from './schemas.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Set when a token was issued for this request, before the answer is sent. */
    exchange: Exchange | undefined
  }
}

export const TOKEN_PATH = `${OAUTH_PREFIX}/token`

/** Serves the token endpoint (RFC 6749 §3.2). */
export async function tokenRoutes(app: FastifyInstance, options: ExchangeOptions): Promise<void> {
  await prepareEndpointScope(app)
  app.decorateRequest('exchange', undefined)
  for (const schema of [TokenRequestSchema, TokenResponseSchema]) app.addSchema(schema)

  app.post<{ Body: FormBody; Headers: Static<typeof DpopHeader> }>(
    TOKEN_PATH,
    {
      schema: {
        operationId: 'exchangeCredentials',
        summary: 'Exchange client credentials for an access token',
        description:
          'Issues an access token (RFC 6749 §4.4). The client authenticates by its secret, in the Authorization header or in the body, or by an assertion: a JWT that it has signed with its private key, or the token of its workload that its platform has signed. A DPoP header binds the token to a key of the client (RFC 9449).',
        ...CLIENT_ENDPOINT,
        headers: DpopHeader,
        body: { $ref: 'TokenRequest' },
        response: {
          200: jsonResponse('An access token', 'TokenResponse', { ...NOT_STORED_HEADER, ...SUNSET }),
          ...oauthErrors([400, 401, 413, 429, 500, 503], {
            400: 'invalid_request, unsupported_grant_type, invalid_scope, invalid_target or invalid_dpop_proof'
          })
        }
      }
    },
    async (request, reply) => {
      const { authorization, dpop } = request.headers
      const tokenRequest = readTokenRequest(authorization, request.body?.form, queryOf(request), dpop)
      noteClient(request, tokenRequest.client)
      const exchanged = await exchange(options, tokenRequest, sourceOf(request))
      request.exchange = exchanged
      setOutcome(request, { result: 'issued' })
      if (isNearExpiry(exchanged)) reply.header('sunset', new Date(exchanged.expiresAt).toUTCString())
      return notStored(reply, {
        access_token: exchanged.accessToken,
        token_type: exchanged.tokenType,
        expires_in: exchanged.expiresInSeconds,
        scope: exchanged.scope
      })
    }
  )
}

/** In the last 30 days before the expiry of a registration, each answer announces it (RFC 8594). */
function isNearExpiry({ expiresAt, at }: Exchange): boolean {
  return expiresAt - at <= EXPIRING_MS.expiring_30d
}

const SUNSET = {
  Sunset: { type: 'string', description: 'Expiry of the registration, sent in its last 30 days (RFC 8594)' }
}
