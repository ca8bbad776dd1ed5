import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import fastifyPlugin from 'fastify-plugin'
import { REFUSAL_REASONS } from '../oauth/oauth-error.ts'
import { TOKEN_PATH } from '../oauth/token/routes.ts'
import type { Counter, Registry } from './registry.ts'

/** Seconds: from a warm exchange on an idle machine to one that waited for hashes. */
const DURATION_BOUNDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5]

interface RequestMetricsOptions {
  registry: Registry
  /** What the paths of the admin API begin with. */
  adminPrefix: string
}

/** Counts requests by what became of them. Register it before the routes; without it everything else works. */
export const requestMetrics = fastifyPlugin(
  async (app: FastifyInstance, { registry, adminPrefix }: RequestMetricsOptions): Promise<void> => {
    let inFlight = 0
    registry.reading({ name: 'grantd_http_requests_in_flight', help: 'Requests under way.' }, () => inFlight)
    const countExchange = exchangeCounter(registry)
    const countRefusal = refusalCounter(registry)
    const countAdminRequest = adminRequestCounter(registry)
    app.addHook('onRequest', (request, reply, done) => {
      inFlight++
      // Rather than onResponse, which does not come when the caller has hung up.
      reply.raw.on('close', () => {
        inFlight--
        const { outcome, routeOptions } = request
        if (outcome?.result === 'issued') countExchange(reply)
        else if (isTokenRequest(request)) countRefusal(outcome?.reason)
        else if (routeOptions.url?.startsWith(`${adminPrefix}/`)) countAdminRequest(request, routeOptions.url, reply)
      })
      done()
    })
  },
  { name: 'request-metrics' }
)

/** By the path rather than the route: a refused method has no route. */
function isTokenRequest({ url }: FastifyRequest): boolean {
  return url === TOKEN_PATH || url.startsWith(`${TOKEN_PATH}?`)
}

function outcomeCounter(registry: Registry, outcome: string): Counter {
  return registry.counter('grantd_token_requests_total', 'Token requests by outcome: issued, or why not.', { outcome })
}

function exchangeCounter(registry: Registry): (reply: FastifyReply) => void {
  const issued = outcomeCounter(registry, 'issued')
  const duration = registry.histogram(
    'grantd_exchange_duration_seconds',
    'Time from the request for a token to the end of the answer.',
    DURATION_BOUNDS
  )
  return reply => {
    issued.increment()
    duration.observe(reply.elapsedTime / 1_000)
  }
}

/** A request without a reason is one whose caller has hung up. */
function refusalCounter(registry: Registry): (reason: string | undefined) => void {
  const refused = new Map<string | undefined, Counter>(
    REFUSAL_REASONS.map(reason => [reason, outcomeCounter(registry, reason)])
  )
  const aborted = outcomeCounter(registry, 'aborted')
  return reason => (refused.get(reason) ?? aborted).increment()
}

type CountAdminRequest = (request: FastifyRequest, route: string, reply: FastifyReply) => void

function adminRequestCounter(registry: Registry): CountAdminRequest {
  const counters = new Map<string, Counter>()
  return ({ method }, route, { raw, statusCode }) => {
    const status = raw.writableFinished ? `${Math.floor(statusCode / 100)}xx` : 'aborted'
    const key = `${method} ${route} ${status}`
    const counter =
      counters.get(key) ??
      registry.counter('grantd_admin_requests_total', 'Requests to the admin API by route and class of status.', {
        method,
        route,
        status
      })
    counters.set(key, counter)
    counter.increment()
  }
}
