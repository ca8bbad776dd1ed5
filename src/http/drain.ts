import type { Server } from 'node:http'
import { Server as NetServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'

/** The longest that draining takes, for clients that never let go. */
const DRAIN_MS = 3_000
/** Without any connection for this long, none is between its old one and its next. */
const QUIET_MS = 250
const POLL_INTERVAL_MS = 25

/**
 * Lets connections end before the server closes. Closing at once would reset those whose next request is under way:
 * instead each answer tells its client to close, and readiness sends new clients elsewhere.
 */
export class Drain {
  isDraining = false
  /** Should new clients come? Also while draining, where a successor already takes them on the same port. */
  takesClients = true

  /** Call it before the routes are registered. */
  watch(app: FastifyInstance): void {
    app.addHook('onSend', (_request, reply, payload, done) => {
      if (this.isDraining) reply.header('connection', 'close')
      done(null, payload)
    })
  }

  /** @returns when connections have stayed away for a moment, or after three seconds */
  async run(server: Server, hasSuccessor = false): Promise<void> {
    this.isDraining = true
    this.takesClients = hasSuccessor
    // The successor takes what comes from now on. Not HTTP's own close, which would also cut connections that are idle.
    if (hasSuccessor) NetServer.prototype.close.call(server)
    const deadline = performance.now() + DRAIN_MS
    let quietSince = performance.now()
    while (performance.now() < deadline && performance.now() - quietSince < QUIET_MS) {
      if ((await countConnections(server)) > 0) quietSince = performance.now()
      await sleep(POLL_INTERVAL_MS)
    }
  }
}

function countConnections(server: Server): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  server.getConnections((error, count) => (error === null ? resolve(count) : reject(error)))
  return promise
}
