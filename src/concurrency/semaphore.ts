/** Too many callers already wait for a permit. Nothing was done; trying again later may help. */
export class SemaphoreFull extends Error {
  constructor() {
    super('too many callers are waiting')
    this.name = 'SemaphoreFull'
  }
}

/** No permit became free in time. Nothing was done; trying again later may help. */
export class SemaphoreTimeout extends Error {
  constructor() {
    super('waited too long for a permit')
    this.name = 'SemaphoreTimeout'
  }
}

export interface SemaphoreOptions {
  /** How many callers may hold a permit at once. */
  permits: number
  /** How many more callers may wait. The next one is rejected at once. */
  maxWaiting: number
  /** The longest that a caller waits, milliseconds. Without it a caller waits until a permit is free. */
  maxWaitMs?: number
}

/** Counts callers: those that hold a permit or wait now, and those that got one or were rejected since the start. */
export interface SemaphoreLoad {
  running: number
  waiting: number
  admitted: number
  rejected: number
}

/** Limits how many callers work at once and how many more wait, first come, first served. */
export class Semaphore {
  readonly #options: SemaphoreOptions
  /** Hands a permit to each waiting caller, in the order in which they came. */
  readonly #waiting = new Set<() => void>()
  #running = 0
  #admitted = 0
  #rejected = 0

  constructor(options: SemaphoreOptions) {
    this.#options = options
  }

  get load(): SemaphoreLoad {
    return {
      running: this.#running,
      waiting: this.#waiting.size,
      admitted: this.#admitted,
      rejected: this.#rejected
    }
  }

  /**
   * Runs the work while it holds a permit.
   *
   * @param signal gives up the place in the queue when it aborts
   * @throws SemaphoreFull; SemaphoreTimeout; the signal's reason; what the work throws
   */
  async run<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    await this.acquire(signal)
    try {
      return await work()
    } finally {
      this.release()
    }
  }

  /**
   * Takes a permit, which the caller must release.
   *
   * @param signal gives up the place in the queue when it aborts
   * @throws SemaphoreFull; SemaphoreTimeout; the signal's reason
   */
  async acquire(signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted()
    if (this.#running < this.#options.permits) this.#running++
    else if (this.#waiting.size < this.#options.maxWaiting) await this.#wait(signal)
    else {
      this.#rejected++
      throw new SemaphoreFull()
    }
    this.#admitted++
  }

  release(): void {
    const [next] = this.#waiting
    // The permit passes on, so that no newcomer overtakes a caller that waits.
    if (next === undefined) this.#running--
    else next()
  }

  async #wait(signal?: AbortSignal): Promise<void> {
    const { maxWaitMs } = this.#options
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const admit = (): void => {
      this.#waiting.delete(admit)
      resolve()
    }
    // At once, so that no permit passes to a caller that has given up.
    const giveUp = (reason: unknown): void => {
      this.#waiting.delete(admit)
      reject(reason)
    }
    const onTimeout = (): void => {
      this.#rejected++
      giveUp(new SemaphoreTimeout())
    }
    const onAbort = (): void => giveUp(signal?.reason)
    const timer = maxWaitMs === undefined ? undefined : setTimeout(onTimeout, maxWaitMs)
    signal?.addEventListener('abort', onAbort, { once: true })
    this.#waiting.add(admit)
    try {
      await promise
    } finally {
      clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
    }
  }
}
