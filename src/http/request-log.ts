import { randomUUID } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { sourceOf } from './source.ts'

/**
 * The id of a request, in the log and in audit events: the caller's `X-Request-Id` where it is well-formed: too
 * short to hold a Client secret.
 */
export function requestId(request: IncomingMessage): string {
  const given = request.headers['x-request-id']
  return typeof given === 'string' && /^[A-Za-z0-9._-]{1,48}$/.test(given) ? given : randomUUID()
}

/**
 * One line per request: route, not URL (a query may hold anything); no header, no body.
 */
export function logRequests(app: FastifyInstance): void {
  app.addHook('onResponse', (request: FastifyRequest, reply: FastifyReply, done) => {
    request.log.info(
      {
        requestId: request.id,
        method: request.method,
        route: request.routeOptions.url ?? null,
        status: reply.statusCode,
        durationMs: Math.round(reply.elapsedTime * 10) / 10,
        source: sourceOf(request),
        ...request.caller,
        ...(request.outcome !== undefined && 'reason' in request.outcome && { reason: request.outcome.reason })
      },
      'request'
    )
    done()
  })
}
