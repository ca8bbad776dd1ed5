import type { FastifyInstance, FastifyReply } from 'fastify'

/** A body with a Content-Encoding. A proxy in front of grantd could read another body than grantd does. */
class EncodedBody extends Error {
  readonly statusCode = 415
}

/** More than one Host header. A proxy in front of grantd may have used the other one (RFC 9112 §3.2). */
export class AmbiguousHost extends Error {
  readonly statusCode = 400

  constructor() {
    super('The request has more than one Host header.')
  }
}

/** Adds what applies to every request and every answer. Call it before the routes are registered. */
export function addCommonHooks(app: FastifyInstance): void {
  app.addHook('onRequest', (request, reply, done) => {
    withCommonHeaders(reply)
    // Only for a caller that sent one, so that all refusals of strangers have the same bytes.
    if (request.headers['x-request-id'] === request.id) reply.header('x-request-id', request.id)
    const { host, 'content-encoding': encoding } = request.headers
    // Node joins two with a comma (joinDuplicateHeaders), which no host name has.
    if (host?.includes(',')) return done(new AmbiguousHost())
    done(encoding === undefined || encoding === 'identity' ? undefined : new EncodedBody('the body is encoded'))
  })
}

export function withCommonHeaders(reply: FastifyReply): FastifyReply {
  return reply.header('x-content-type-options', 'nosniff')
}
