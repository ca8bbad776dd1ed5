import type { Server } from 'node:http'
import { Server as NetServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'

/** Maximum time that draining takes, for clients that never close their connections. */
const DRAIN_MS = 3_000
/** When no connection has been open for this long, no client is between its old connection and its next one. */
const QUIET_MS = 250
const POLL_INTERVAL_MS = 25

/**
 * Lets connections end before the servers close. Closing at once would reset connections whose next request is already
 * on its way. Instead, each answer asks its client to close, and readiness sends new clients elsewhere.
 */
export class Drain {
  readonly #servers = new Set<Server>()
  isDraining = false
  /** Should new clients come? Also true while draining, when a successor already serves the same port. */
  takesClients = true

  /** Adds a server to be drained. HOST=localhost listens on two. */
  addServer(server: Server): void {
    this.#servers.add(server)
  }

  /** Call it before the routes are registered. */
  watch(app: FastifyInstance): void {
    app.addHook('onSend', (_request, reply, payload, done) => {
      if (this.isDraining) reply.header('connection', 'close')
      done(null, payload)
    })
  }

  /** Resolves when no connection has been open for a moment, or after three seconds. */
  async run(hasSuccessor = false): Promise<void> {
    this.isDraining = true
    this.takesClients = hasSuccessor
    if (hasSuccessor) this.#stopAccepting()
    const deadline = performance.now() + DRAIN_MS
    let quietSince = performance.now()
    while (performance.now() < deadline && performance.now() - quietSince < QUIET_MS) {
      if ((await this.#countConnections()) > 0) quietSince = performance.now()
      await sleep(POLL_INTERVAL_MS)
    }
  }

  /** The successor accepts new connections. HTTP's own close would also cut connections that are idle. */
  #stopAccepting(): void {
    for (const server of this.#servers) if (server.listening) NetServer.prototype.close.call(server)
  }

  async #countConnections(): Promise<number> {
    const counts = await Promise.all([...this.#servers].map(countConnections))
    return counts.reduce((sum, count) => sum + count, 0)
  }
}

function countConnections(server: Server): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  server.getConnections((error, count) => (error === null ? resolve(count) : reject(error)))
  return promise
}
