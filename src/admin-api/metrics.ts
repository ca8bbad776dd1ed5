import type { EndedRequest } from '../http/metrics.ts'
import type { Counter, Registry } from '../metrics/registry.ts'

/**
 * Measures the admin API.
 *
 * @param prefix start of the paths of the admin API
 * @returns an observer of requests
 */
export function measureAdminRequests(registry: Registry, prefix: string): (request: EndedRequest) => void {
  const counters = new Map<string, Counter>()
  return ({ method, route, status: code, isComplete }) => {
    if (route?.startsWith(`${prefix}/`) !== true) return
    const status = isComplete ? `${Math.floor(code / 100)}xx` : 'aborted'
    const key = `${method} ${route} ${status}`
    const counter =
      counters.get(key) ??
      registry.counter('grantd_admin_requests_total', 'Requests to the admin API, by route and class of status.', {
        method,
        route,
        status
      })
    counters.set(key, counter)
    counter.increment()
  }
}
