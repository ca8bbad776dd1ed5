import type { Claim, Claimed } from './repository.ts'

/** Tries that may hold a place at once, in one process. */
const PLACES = 64
/** How long a try may hold its place. A try that takes longer goes on beside the places. */
export const PLACE_LIMIT_MS = 1_000
/** Tries beside the places. Each costs a socket only. */
const MAX_SLOW = 256
const MAX_PER_RECEIVER = 2
/** Places that the receivers of one Site may hold at once. */
const MAX_PER_SITE = 16
/** Places that receivers which were slow or failed at their latest try may hold at once. */
const MAX_FOR_SLOW = PLACES / 2
/** Receivers that are remembered as slow. */
const MAX_REMEMBERED = 1_000

/** A try that is under way. */
export interface Try {
  queue: string
  /** Site whose receiver it is; undefined for a receiver of the configuration. */
  owner: string | undefined
  startedInSlowClass: boolean
  isSlow: boolean
  timer: NodeJS.Timeout
  /** Cuts the try off. */
  cut: AbortController
}

/**
 * Shares out the tries that one process makes at once, so that no receiver and no Site holds up another.
 *
 * A try holds a place for one second at most. After that it goes on beside the places, and its receiver is remembered as
 * slow until it answers in time. When too many tries go on there, the oldest of the Site that has the most is cut off.
 */
export class Places {
  readonly #tries = new Set<Try>()
  readonly #slowQueues = new Set<string>()
  readonly #onFree: () => void

  /** @param onFree called when a try leaves its place before it ends */
  constructor(onFree: () => void) {
    this.#onFree = onFree
  }

  /** Returns what may be claimed now; undefined when no place is free. */
  limits(): Omit<Claim, 'now' | 'leaseUntil'> | undefined {
    const holders = [...this.#tries].filter(({ isSlow }) => !isSlow)
    const limit = PLACES - holders.length
    if (limit <= 0) return undefined
    const sites = Map.groupBy(
      holders.flatMap(({ owner }) => owner ?? []),
      owner => owner
    )
    return {
      exceptQueues: [...new Set([...this.#tries].map(({ queue }) => queue))],
      slowQueues: [...this.#slowQueues],
      slowLimit: Math.max(0, MAX_FOR_SLOW - holders.filter(({ startedInSlowClass }) => startedInSlowClass).length),
      limit,
      limitPerQueue: MAX_PER_RECEIVER,
      limitPerSite: MAX_PER_SITE,
      underWay: new Map([...sites].map(([owner, held]) => [owner, held.length]))
    }
  }

  /** Takes a place for this delivery. */
  take({
    queue,
    receiver_id,
    site_id,
    attempts
  }: Pick<Claimed, 'queue' | 'receiver_id' | 'site_id' | 'attempts'>): Try {
    const taken: Try = {
      queue,
      owner: receiver_id === null ? undefined : site_id,
      startedInSlowClass: attempts > 1 || this.#slowQueues.has(queue),
      isSlow: false,
      timer: setTimeout(() => this.#moveAside(taken), PLACE_LIMIT_MS).unref(),
      cut: new AbortController()
    }
    this.#tries.add(taken)
    return taken
  }

  /** Ends a try. */
  leave(ended: Try): void {
    clearTimeout(ended.timer)
    this.#tries.delete(ended)
    if (!ended.isSlow) this.#slowQueues.delete(ended.queue)
  }

  #moveAside(slow: Try): void {
    slow.isSlow = true
    this.#remember(slow.queue)
    this.#cutOffExcess()
    this.#onFree()
  }

  #remember(queue: string): void {
    this.#slowQueues.delete(queue)
    this.#slowQueues.add(queue)
    const [oldest] = this.#slowQueues
    if (this.#slowQueues.size > MAX_REMEMBERED && oldest !== undefined) this.#slowQueues.delete(oldest)
  }

  #cutOffExcess(): void {
    const slow = [...this.#tries].filter(({ isSlow, cut }) => isSlow && !cut.signal.aborted)
    if (slow.length <= MAX_SLOW) return
    const bySite = Map.groupBy(slow, ({ owner }) => owner)
    const [most = []] = [...bySite.values()].sort((one, other) => other.length - one.length)
    most[0]?.cut.abort(new DOMException('too many slow tries', 'TimeoutError'))
  }
}
