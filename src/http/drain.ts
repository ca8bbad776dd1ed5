import type { Server } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'

/** Long enough for requests that are on the wire, short enough for whoever waits for the exit. */
const DRAIN_MS = 1_000
const POLL_INTERVAL_MS = 20

/**
 * Lets connections end before the server closes. Closing at once would reset those whose next request is under way:
 * instead each answer tells its client to close, and readiness sends new clients elsewhere.
 */
export class Drain {
  isDraining = false

  /** Call it before the routes are registered. */
  watch(app: FastifyInstance): void {
    app.addHook('onSend', async (_request, reply) => {
      if (this.isDraining) reply.header('connection', 'close')
    })
  }

  /** @returns when no connection is left, or soon after */
  async run(server: Server): Promise<void> {
    this.isDraining = true
    const deadline = Date.now() + DRAIN_MS
    while (Date.now() < deadline && (await countConnections(server)) > 0) await sleep(POLL_INTERVAL_MS)
  }
}

function countConnections(server: Server): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  server.getConnections((error, count) => (error === null ? resolve(count) : reject(error)))
  return promise
}
