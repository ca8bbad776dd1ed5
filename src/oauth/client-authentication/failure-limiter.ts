import { isIPv6 } from 'node:net'
import { BoundedMap } from '../../concurrency/bounded-map.ts'
import { isClientId } from '../../registrations/client-id.ts'
import { MINUTE_MS } from '../../time.ts'
import { type OAuthError, type RefusalReason, slowDown } from '../oauth-error.ts'

const WINDOW_MS = MINUTE_MS
/** At most this many pairs are kept. An attacker with more of them only drives out its own. */
const MAX_PAIRS = 100_000

interface Failures {
  count: number
  /** When counting starts again, milliseconds since the epoch. */
  resetsAt: number
}

/**
 * Limits the failures of one source for one client, to protect the log and the network. It does not matter whether the
 * client exists. The right credential is never limited, so that no source can lock a client out.
 */
export class FailureLimiter {
  readonly #limit: number
  readonly #failures = new BoundedMap<string, Failures>(MAX_PAIRS)

  /** @param limit failures per minute that get an ordinary answer */
  constructor(limit: number) {
    this.#limit = limit
  }

  /** Counts the pairs of source and client that are kept. */
  get size(): number {
    return this.#failures.size
  }

  /**
   * Counts a failure.
   *
   * @param now milliseconds since the epoch
   * @param failure what is wrong with the request
   * @throws OAuthError 429 with `Retry-After` when the limit is exceeded
   */
  count(source: string, clientId: string, now: number, failure?: RefusalReason): void {
    const key = pairOf(source, clientId)
    const failures = this.#failures.get(key)
    if (failures === undefined || failures.resetsAt <= now) {
      this.#failures.set(key, { count: 1, resetsAt: now + WINDOW_MS })
    } else if (failures.count < this.#limit) failures.count++
    else throw tooManyFailures(failures.resetsAt - now, failure)
  }
}

function tooManyFailures(waitMs: number, failure: RefusalReason | undefined): OAuthError {
  return slowDown('Too many failures. Wait before trying again.', 'too_many_failures', waitMs, failure)
}

/** Ids that grantd cannot have created share one entry, so that no input is kept. */
function pairOf(source: string, clientId: string): string {
  return `${isIPv6(source) ? network64(source) : source} ${isClientId(clientId) ? clientId : ''}`
}

/** Returns the /64 network of an IPv6 address, the least that one subscriber has. */
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
