import type { FastifyInstance } from 'fastify'
import fastifyPlugin from 'fastify-plugin'
import type { Registry } from '../metrics/registry.ts'
import type { Outcome } from './outcome.ts'

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

/** Measures requests. Register it before the routes. Without it everything else works. */
export const requestMetrics = fastifyPlugin(
  async (app: FastifyInstance, { registry, observers }: RequestMetricsOptions): Promise<void> => {
    let inFlight = 0
    registry.reading({ name: 'grantd_http_requests_in_flight', help: 'Requests being processed.' }, () => inFlight)
    app.addHook('onRequest', (request, reply, done) => {
      inFlight++
      // Fastify's onResponse is not called when the caller has hung up.
      reply.raw.on('close', () => {
        inFlight--
        const { method, url, routeOptions, outcome } = request
        const [path = ''] = url.split('?', 1)
        const { statusCode: status, elapsedTime, raw } = reply
        const isComplete = raw.writableFinished
        const ended = {
          method,
          path,
          route: routeOptions.url,
          outcome,
          status,
          isComplete,
          seconds: elapsedTime / 1_000
        }
        for (const observe of observers) observe(ended)
      })
      done()
    })
  },
  { name: 'request-metrics' }
)
