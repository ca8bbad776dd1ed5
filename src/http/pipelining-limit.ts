import type { Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'

/** Honest clients send one request at a time on a connection. Those that pipeline send a few. */
const MAX_IN_PROGRESS = 64

/**
 * Bounds the requests in progress on one connection, and closes a connection that has more. Node starts all requests of
 * one read before it pauses a connection, so without a bound one packet of 64 KiB starts 1,680 of them.
 * Call it before every other hook.
 */
export function limitPipelining(app: FastifyInstance): void {
  const inProgress = new WeakMap<Socket, number>()
  app.addHook('onRequest', (request, reply, done) => {
    const { socket } = request.raw
    const count = (inProgress.get(socket) ?? 0) + 1
    if (count > MAX_IN_PROGRESS || socket.destroyed) {
      // Once for each connection: the requests that follow find it destroyed.
      if (!socket.destroyed) {
        request.log.info({ source: request.ip, limit: MAX_IN_PROGRESS }, 'too many requests at once on one connection')
        socket.destroy()
      }
      // Nothing is sent and no further hook runs.
      reply.hijack()
      return
    }
    inProgress.set(socket, count)
    reply.raw.once('close', () => inProgress.set(socket, (inProgress.get(socket) ?? 1) - 1))
    done()
  })
}
