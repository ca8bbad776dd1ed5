import { isIPv6 } from 'node:net'
import { BoundedMap } from '../../../concurrency/bounded-map.ts'
import { isClientId } from '../../../registrations/client-id.ts'
import { OAuthError } from '../../oauth-error.ts'

const WINDOW_MS = 60_000
/** Room for this many pairs of source and client; an attacker with more only forgets its own. */
const MAX_PAIRS = 100_000

interface Failures {
  count: number
  /** When counting starts anew, milliseconds since the epoch. */
  resetsAt: number
}

/**
 * Slows down a source that keeps failing to authenticate as one client. Whether that client exists makes no
 * difference, and other sources are not touched: nobody can lock a client out from elsewhere.
 */
export class FailureBrake {
  readonly #limit: number
  readonly #failures = new BoundedMap<string, Failures>(MAX_PAIRS)

  /** @param limit failures a minute that pass */
  constructor(limit: number) {
    this.#limit = limit
  }

  /** Pairs of source and client that are kept. */
  get size(): number {
    return this.#failures.size
  }

  /** @throws OAuthError 429 with `Retry-After` */
  check(source: string, clientId: string, now: number): void {
    const failures = this.#failures.get(pair(source, clientId))
    if (failures === undefined || failures.count < this.#limit || failures.resetsAt <= now) return
    const seconds = Math.ceil((failures.resetsAt - now) / 1_000)
    throw new OAuthError(429, 'slow_down', 'Too many failures; wait before trying again.', 'too_many_failures', {
      'retry-after': String(seconds)
    })
  }

  count(source: string, clientId: string, now: number): void {
    const key = pair(source, clientId)
    const failures = this.#failures.get(key)
    if (failures !== undefined && failures.resetsAt > now) {
      failures.count++
      return
    }
    this.#failures.set(key, { count: 1, resetsAt: now + WINDOW_MS })
  }
}

/** Ids that grantd can't have made share one place, so that nobody's input is kept. */
function pair(source: string, clientId: string): string {
  return `${isIPv6(source) ? network64(source) : source} ${isClientId(clientId) ? clientId : ''}`
}

/** The /64 of an IPv6 address: what one subscriber has at the least. */
function network64(address: string): string {
  const [head = '', tail] = address.split('::')
  const groups = head.split(':').filter(Boolean)
  const missing = tail === undefined ? 0 : 8 - groups.length - tail.split(':').filter(Boolean).length
  const padded = [...groups, ...Array.from({ length: missing }, () => '0'), ...(tail ?? '').split(':')]
  return padded
    .slice(0, 4)
    .map(group => Number.parseInt(group, 16))
    .join(':')
}
