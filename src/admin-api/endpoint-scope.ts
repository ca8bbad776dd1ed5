import type { FastifyInstance } from 'fastify'
import { Problem, problemErrorHandler } from '../http/problem.ts'
import { parseJsonBody } from './json-body.ts'
import { validateRequest } from './validation.ts'

/**
 * Makes a scope in which endpoints of /v1 are registered: bodies are strict JSON, errors are problems (RFC 9457), and no
 * answer may be stored.
 */
export function prepareEndpointScope(scope: FastifyInstance): void {
  scope.decorateRequest('jsonFaults', undefined)
  scope.removeAllContentTypeParsers()
  scope.addContentTypeParser('application/json', { parseAs: 'buffer' }, parseJsonBody)
  scope.setErrorHandler(problemErrorHandler)
  scope.addHook('onRequest', async (_request, reply) => {
    reply.header('cache-control', 'no-store')
  })
  // Fastify would wait for ever for the body of a caller that hung up while it was authenticated.
  scope.addHook('preParsing', async ({ raw }, _reply, payload) => {
    if (raw.destroyed && !raw.readableEnded) throw new Problem(400, 'invalid_request', 'The caller hung up.')
    return payload
  })
  scope.addHook('preValidation', validateRequest)
}

/** Registers endpoints of /v1 that are not for administrators. Each of them says what it demands of its callers. */
export async function publicEndpoints(
  app: FastifyInstance,
  { routes }: { routes: (scope: FastifyInstance) => Promise<void> }
): Promise<void> {
  prepareEndpointScope(app)
  await routes(app)
}
