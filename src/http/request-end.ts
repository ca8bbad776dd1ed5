import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'

declare module 'fastify' {
  interface FastifyInstance {
    /** See `onRequestEnd`. */
    requestEndObservers: OnEnd[]
  }
  interface FastifyRequest {
    /** Is the answer decided? It may still have to be sent. */
    isDecided: boolean
  }
}

type OnEnd = (request: FastifyRequest, reply: FastifyReply) => void

/** Calls `observer` once for every request, when its answer is decided and its connection has no more to do with it. */
export function onRequestEnd(app: FastifyInstance, observer: OnEnd): void {
  app.requestEndObservers.push(observer)
}

/**
 * Finds the end of each request. Fastify's own onResponse is not called when the caller has hung up, so a caller could
 * leave no trace. Its answer may be decided after that, so whichever comes last ends the request.
 * Call it before the routes are registered.
 */
export function observeRequestEnds(app: FastifyInstance): void {
  const observers: OnEnd[] = []
  const end: OnEnd = (request, reply) => {
    for (const observe of observers) observe(request, reply)
  }
  app.decorate('requestEndObservers', observers)
  app.decorateRequest('isDecided', false)
  app.addHook('onRequest', (request, reply, done) => {
    // One listener for all observers. Each listener costs a token half a microsecond.
    reply.raw.on('close', () => request.isDecided && end(request, reply))
    done()
  })
  app.addHook('onSend', (request, reply, payload, done) => {
    const isFirst = !request.isDecided
    request.isDecided = true
    if (isFirst && reply.raw.closed) end(request, reply)
    done(null, payload)
  })
}
