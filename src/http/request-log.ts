import { randomUUID } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { FastifyInstance } from 'fastify'
import { onRequestEnd } from './request-end.ts'
import { sourceOf } from './source.ts'
import { traceparentOf } from './traceparent.ts'

/**
 * Returns the id of a request, for the log and for audit events: the caller's `X-Request-Id` when it is well-formed, else
 * a new one. Such an id is too short to hold a Client secret.
 */
export function requestId(request: IncomingMessage): string {
  const given = request.headers['x-request-id']
  return typeof given === 'string' && /^[A-Za-z0-9._-]{1,48}$/.test(given) ? given : randomUUID()
}

/**
 * Logs one line for each request, also when its caller has hung up. It shows the route rather than the URL, because a
 * query may hold anything, and no header or body.
 */
export function logRequests(app: FastifyInstance): void {
  onRequestEnd(app, (request, reply) => {
    const { caller, outcome } = request
    // pino leaves out what is undefined.
    request.log.info(
      {
        requestId: request.id,
        traceparent: traceparentOf(request.headers),
        method: request.method,
        route: request.routeOptions.url ?? null,
        status: reply.statusCode,
        durationMs: Math.round(reply.elapsedTime * 10) / 10,
        source: sourceOf(request),
        ...caller,
        reason: outcome !== undefined && 'reason' in outcome ? outcome.reason : undefined,
        hungUp: reply.raw.writableFinished ? undefined : true
      },
      'request'
    )
  })
}
