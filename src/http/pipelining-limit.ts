import type { Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'
import { onRequestEnd } from './request-end.ts'

/** Honest clients send one request at a time on a connection. Those that pipeline send a few. */
const MAX_IN_PROGRESS = 64

/**
 * Bounds the requests in progress on one connection, and closes a connection that has more. Node starts all requests of
 * one read before it pauses a connection, so without a bound one packet of 64 KiB starts 1,680 of them.
 * Call it after `observeRequestEnds` and before every other hook.
 */
export function limitPipelining(app: FastifyInstance): void {
  const loads = new WeakMap<Socket, { inProgress: number }>()
  app.addHook('onRequest', (request, reply, done) => {
    const { socket } = request.raw
    const load = loads.get(socket) ?? { inProgress: 0 }
    if (!loads.has(socket)) loads.set(socket, load)
    if (load.inProgress >= MAX_IN_PROGRESS || socket.destroyed) {
      // Once for each connection: the requests that follow find it destroyed.
      if (!socket.destroyed) {
        request.log.info({ source: request.ip, limit: MAX_IN_PROGRESS }, 'too many requests at once on one connection')
        socket.destroy()
      }
      // Nothing is sent and no further hook runs.
      reply.hijack()
      return
    }
    load.inProgress++
    done()
  })
  onRequestEnd(app, ({ raw }) => {
    const load = loads.get(raw.socket)
    if (load !== undefined) load.inProgress--
  })
}
