import type { FastifyInstance, FastifyReply } from 'fastify'

/** A body in a coding (gzip, br): what is behind us and what is before us might read two different ones. */
class EncodedBody extends Error {
  readonly statusCode = 415
}

/** What holds for every request and every answer. Call it before the routes are registered. */
export function applyToAll(app: FastifyInstance): void {
  app.addHook('onRequest', (request, reply, done) => {
    withGeneralHeaders(reply)
    // Told back to a caller that gave one: refusals of strangers stay the same bytes.
    if (request.headers['x-request-id'] === request.id) reply.header('x-request-id', request.id)
    const encoding = request.headers['content-encoding']
    done(encoding === undefined || encoding === 'identity' ? undefined : new EncodedBody('the body is encoded'))
  })
}

export function withGeneralHeaders(reply: FastifyReply): FastifyReply {
  return reply.header('x-content-type-options', 'nosniff')
}
