import type { FastifyInstance } from 'fastify'
import fastifyPlugin from 'fastify-plugin'
import type { Registry } from '../metrics/registry.ts'
import type { ConnectionLimit } from './connection-limit.ts'
import type { Outcome } from './outcome.ts'
import { onRequestEnd } from './request-end.ts'

/** A request that was answered completely, or whose caller has gone. */
export interface EndedRequest {
  method: string
  /** As it was sent, without the query. Never a label: a caller can send any. */
  path: string
  /** Pattern of the route, undefined when none matched. */
  route: string | undefined
  outcome: Outcome | undefined
  status: number
  /** False when the caller hung up before the answer was complete. */
  isComplete: boolean
  seconds: number
}

interface RequestMetricsOptions {
  registry: Registry
  /** Each is called once for every request, when it has ended. */
  observers: readonly ((request: EndedRequest) => void)[]
}

/** Measures requests. Register it after `requestHandling` and before the routes. Without it everything else works. */
export const requestMetrics = fastifyPlugin(
  async (app: FastifyInstance, { registry, observers }: RequestMetricsOptions): Promise<void> => {
    let inFlight = 0
    registry.reading({ name: 'grantd_http_requests_in_flight', help: 'Requests being processed.' }, () => inFlight)
    app.addHook('onRequest', (_request, _reply, done) => {
      inFlight++
      done()
    })
    onRequestEnd(app, ({ method, url, routeOptions, outcome }, { statusCode, elapsedTime, raw }) => {
      inFlight--
      const [path = ''] = url.split('?', 1)
      const ended = {
        method,
        path,
        route: routeOptions.url,
        outcome,
        status: statusCode,
        isComplete: raw.writableFinished,
        seconds: elapsedTime / 1_000
      }
      for (const observe of observers) observe(ended)
    })
  },
  { name: 'request-metrics' }
)

/** Measures the connections of callers. */
export function measureConnections(registry: Registry, limit: Pick<ConnectionLimit, 'load'>): void {
  registry.reading({ name: 'grantd_http_connections', help: 'Open connections of callers.' }, () => limit.load.open)
  registry.reading(
    {
      name: 'grantd_http_connections_rejected_total',
      help: 'Connections that were closed because of MAX_CONNECTIONS or the share of one source.',
      type: 'counter'
    },
    () => limit.load.rejected
  )
}
