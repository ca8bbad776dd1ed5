import type { FastifyInstance } from 'fastify'

/** A flood of connections must not become one of log lines. */
const WARNING_INTERVAL_MS = 10_000

/** Takes so many connections at once and closes the rest unanswered: memory and file descriptors are bounded. */
export function limitConnections(app: FastifyInstance, maxConnections: number): void {
  let dropped = 0
  let warnedAt = Number.NEGATIVE_INFINITY
  app.server.maxConnections = maxConnections
  app.server.on('drop', () => {
    dropped++
    if (performance.now() - warnedAt < WARNING_INTERVAL_MS) return
    warnedAt = performance.now()
    app.log.warn({ maxConnections, dropped }, 'MAX_CONNECTIONS are open: a new one was closed')
  })
}
