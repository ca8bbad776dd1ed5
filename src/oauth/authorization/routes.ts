import type { FastifyInstance, FastifyReply } from 'fastify'
import { METHODS } from '../../http/node-http.ts'
import { OAUTH_PREFIX, sendOAuthError } from '../endpoint-scope.ts'
import { unsupportedResponseType } from '../oauth-error.ts'

export const AUTHORIZATION_PATH = `${OAUTH_PREFIX}/authorize`

/**
 * Serves an authorization endpoint that refuses every request with 400 `unsupported_response_type` (RFC 6749 §4.1.2.1).
 *
 * Some clients reject metadata without this endpoint, although they use `client_credentials` only. The endpoint reads
 * neither query nor body, so it can neither redirect nor reflect anything. It is not in openapi.yaml, because no client
 * can use it.
 */
export async function authorizationRoutes(app: FastifyInstance): Promise<void> {
  for (const method of METHODS) if (!app.supportedMethods.includes(method)) app.addHttpMethod(method)
  app.all(AUTHORIZATION_PATH, {
    schema: { hide: true },
    // Before the body is read, which may have any media type and any length.
    onRequest: async (_request, reply) => refuse(reply),
    // For a request that is refused before it gets here, such as one with a Content-Encoding.
    errorHandler: (_error, _request, reply) => refuse(reply),
    handler: async (_request, reply) => refuse(reply)
  })
}

function refuse(reply: FastifyReply): FastifyReply {
  return sendOAuthError(reply, unsupportedResponseType())
}
