import type { EndedRequest } from '../http/metrics.ts'
import type { Outcome } from '../http/outcome.ts'
import type { Counter, Registry } from '../metrics/registry.ts'
import type { FailureLimiter } from './client-authentication/failure-limiter.ts'
import { INTROSPECTION_PATH } from './introspection/routes.ts'
import { REFUSAL_REASONS } from './oauth-error.ts'
import { REVOCATION_PATH } from './revocation/routes.ts'
import type { ClientCache } from './token/cache/client-cache.ts'
import type { LookupWatch } from './token/cache/client-lookup.ts'
import { TOKEN_PATH } from './token/routes.ts'

/** Seconds: from an exchange on an idle machine to one on an overloaded machine. */
const DURATION_BOUNDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5]

/**
 * Measures token requests by outcome: `issued`, the reason of a refusal, or `aborted` when the caller hung up first.
 *
 * @returns an observer of requests
 */
export function measureTokenRequests(registry: Registry): (request: EndedRequest) => void {
  const counterOf = (outcome: string) =>
    registry.counter('grantd_token_requests_total', 'Token requests by outcome: issued, aborted, or why refused.', {
      outcome
    })
  const issued = counterOf('issued')
  const refused = new Map<string, Counter>(REFUSAL_REASONS.map(reason => [reason, counterOf(reason)]))
  const aborted = counterOf('aborted')
  const duration = registry.histogram(
    'grantd_exchange_duration_seconds',
    'Time from the arrival of a token request to the end of its answer, for issued tokens.',
    DURATION_BOUNDS
  )
  return ({ path, outcome, seconds }) => {
    // By the path: a refused method has no route.
    if (path !== TOKEN_PATH) return
    if (outcome?.result === 'issued') {
      issued.increment()
      duration.observe(seconds)
    } else (refused.get(outcome !== undefined && 'reason' in outcome ? outcome.reason : '') ?? aborted).increment()
  }
}

/**
 * Measures introspections by outcome. Why a request was refused, or a token is inactive, is in the log only.
 *
 * @returns an observer of requests
 */
export function measureIntrospections(registry: Registry): (request: EndedRequest) => void {
  const count = counterOf(
    registry,
    { name: 'grantd_introspections_total', subject: 'Introspection requests' },
    ...(['active', 'inactive'] as const)
  )
  const duration = registry.histogram(
    'grantd_introspection_duration_seconds',
    'Time from the arrival of an introspection request to the end of its answer, for active and inactive tokens.',
    DURATION_BOUNDS
  )
  return ({ path, outcome, seconds }) => {
    if (path !== INTROSPECTION_PATH) return
    count(outcome)
    if (outcome?.result === 'active' || outcome?.result === 'inactive') duration.observe(seconds)
  }
}

/** Measures revocations by outcome: `inactive` is a token that is not one of the client. @returns an observer of requests */
export function measureRevocations(registry: Registry): (request: EndedRequest) => void {
  const count = counterOf(
    registry,
    { name: 'grantd_revocations_total', subject: 'Revocation requests' },
    ...(['revoked', 'inactive'] as const)
  )
  return ({ path, outcome }) => {
    if (path === REVOCATION_PATH) count(outcome)
  }
}

/** Makes a counter of requests for each outcome. @param successes outcomes beside those of any request */
function counterOf(
  registry: Registry,
  { name, subject }: { name: string; subject: string },
  ...successes: readonly Outcome['result'][]
): (outcome: Outcome | undefined) => void {
  const outcomes = [...successes, 'refused', 'failed', 'aborted']
  const help = `${subject} by outcome: ${outcomes.slice(0, -1).join(', ')} or aborted.`
  const counters = new Map(outcomes.map(outcome => [outcome, registry.counter(name, help, { outcome })]))
  return outcome => counters.get(outcome?.result ?? 'aborted')?.increment()
}

export function measureFailureLimiter(registry: Registry, limiter: FailureLimiter): void {
  registry.reading(
    { name: 'grantd_failure_limiter_entries', help: 'Pairs of source and client with recent failures.' },
    () => limiter.size
  )
}

export function measureClientCache(registry: Registry, cache: ClientCache): void {
  registry.reading({ name: 'grantd_client_cache_entries', help: 'Clients whose row is cached.' }, () => cache.size)
}

interface ChangeLog {
  warn: (message: string) => void
  info: (message: string) => void
}

/** Measures look-ups of clients, and the absence of the database. @returns callbacks for them */
export function measureLookups(registry: Registry, log: ChangeLog): LookupWatch {
  let isAway = false
  registry.reading(
    { name: 'grantd_database_away', help: 'Processes whose latest look-up of a client got no answer from Postgres.' },
    () => (isAway ? 1 : 0)
  )
  const servedStale = registry.counter(
    'grantd_stale_credentials_served_total',
    'Tokens issued by a cached row because Postgres did not answer.'
  )
  const lookups = registry.counter(
    'grantd_client_lookups_total',
    'Look-ups of clients. A client whose unchanged row is cached needs none.'
  )
  return {
    lookedUp: () => lookups.increment(),
    awayChanged: isAwayNow => {
      isAway = isAwayNow
      if (isAway) log.warn('the database is unavailable: recent clients are served from the cache')
      else log.info('the database is available again: every exchange reads it')
    },
    servedStale: () => servedStale.increment()
  }
}
