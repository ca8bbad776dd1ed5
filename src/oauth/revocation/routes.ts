import type { FastifyInstance } from 'fastify'
import { publicContextOf } from '../../admin-api/audit-context.ts'
import { setOutcome } from '../../http/outcome.ts'
import {
  CLIENT_ENDPOINT,
  type FormBody,
  NOT_STORED_HEADER,
  noteClient,
  OAUTH_PREFIX,
  oauthErrors,
  queryOf,
  sendEmptyNotStored
} from '../endpoint-scope.ts'
import { readIssuedTokenRequest } from '../issued-tokens/request.ts'
import { type RevocationOptions, revoke } from './revoke.ts'
import { RevocationRequestSchema } from './schemas.ts'

export const REVOCATION_PATH = `${OAUTH_PREFIX}/revoke`

/** Serves the revocation endpoint (RFC 7009 §2). Register it in a scope of OAuth endpoints. */
export async function revocationRoutes(app: FastifyInstance, options: RevocationOptions): Promise<void> {
  app.addSchema(RevocationRequestSchema)

  app.post<{ Body: FormBody }>(
    REVOCATION_PATH,
    {
      schema: {
        operationId: 'revokeToken',
        summary: 'Revoke an access token',
        description:
          'Revokes one access token of the client itself (RFC 7009). From then on, introspection answers that it is not active. A resource server that verifies tokens offline accepts it until it expires. A token of another client, and a text that is no token, get the same answer without effect.',
        ...CLIENT_ENDPOINT,
        body: { $ref: 'RevocationRequest' },
        response: {
          200: { description: 'The token is not active', type: 'null', headers: NOT_STORED_HEADER },
          ...oauthErrors([400, 401, 413, 429, 500, 503])
        }
      }
    },
    async (request, reply) => {
      const asked = readIssuedTokenRequest(request.headers.authorization, request.body?.form, queryOf(request))
      noteClient(request, asked.client)
      const isRevoked = await revoke(options, asked, publicContextOf(request, 'client', options.issuer))
      setOutcome(request, isRevoked ? { result: 'revoked' } : { result: 'inactive', reason: 'unknown_token' })
      return sendEmptyNotStored(reply)
    }
  )
}
