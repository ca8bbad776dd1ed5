import type { FastifyInstance, FastifyReply } from 'fastify'

/** A body in a coding (gzip, br): what is behind us and what is before us might read two different ones. */
class EncodedBody extends Error {
  readonly statusCode = 415
}

/** More than one Host: what is before us may have gone by the other (RFC 9112 §3.2). */
export class AmbiguousHost extends Error {
  readonly statusCode = 400

  constructor() {
    super('There is more than one Host header.')
  }
}

/** What holds for every request and every answer. Call it before the routes are registered. */
export function addCommonHooks(app: FastifyInstance): void {
  // An expectation that nobody has: Node would refuse it unheard and unlogged. Meeting it is not required (RFC 9110 §10.1.1).
  app.server.on('checkExpectation', (request, response) => void app.server.emit('request', request, response))
  app.addHook('onRequest', (request, reply, done) => {
    withCommonHeaders(reply)
    // Told back to a caller that gave one: refusals of strangers stay the same bytes.
    if (request.headers['x-request-id'] === request.id) reply.header('x-request-id', request.id)
    const { host, 'content-encoding': encoding } = request.headers
    // Node joins them by a comma (joinDuplicateHeaders), which no name in DNS has.
    if (host?.includes(',')) return done(new AmbiguousHost())
    done(encoding === undefined || encoding === 'identity' ? undefined : new EncodedBody('the body is encoded'))
  })
}

export function withCommonHeaders(reply: FastifyReply): FastifyReply {
  return reply.header('x-content-type-options', 'nosniff')
}
