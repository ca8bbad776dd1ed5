import { SemaphoreFull, type SemaphoreLoad } from './semaphore.ts'

export interface FairSemaphoreOptions {
  /** How many callers may hold a permit at once. */
  permits: number
  /** How many callers of one key may wait. The next one is rejected at once. */
  maxWaitingPerKey: number
  /** How many callers of all keys may wait. */
  maxWaiting: number
}

/**
 * Limits how many callers work at once. Callers wait in a queue of their own key, such as their Site. A permit that
 * becomes free goes to each queue in turn, so that one key cannot hold back the others.
 */
export class FairSemaphore {
  readonly #options: FairSemaphoreOptions
  /** A queue for each key that has callers waiting. The key whose turn is next comes first. */
  readonly #queues = new Map<string, Set<() => void>>()
  #running = 0
  #waiting = 0
  #admitted = 0
  #rejected = 0

  constructor(options: FairSemaphoreOptions) {
    this.#options = options
  }

  get load(): SemaphoreLoad {
    return { running: this.#running, waiting: this.#waiting, admitted: this.#admitted, rejected: this.#rejected }
  }

  /**
   * Runs the work while it holds a permit.
   *
   * @param signal gives up the place in the queue when it aborts
   * @throws SemaphoreFull; the signal's reason; what the work throws
   */
  async run<T>(key: string, work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    signal?.throwIfAborted()
    if (this.#running < this.#options.permits) this.#running++
    else await this.#wait(key, signal)
    this.#admitted++
    try {
      return await work()
    } finally {
      this.#release()
    }
  }

  #release(): void {
    const [next] = this.#queues
    if (next === undefined) {
      this.#running--
      return
    }
    const [key, queue] = next
    const [admit] = queue
    // The other keys come before the next caller of this one.
    this.#queues.delete(key)
    this.#queues.set(key, queue)
    admit?.()
  }

  async #wait(key: string, signal?: AbortSignal): Promise<void> {
    const queue = this.#queues.get(key) ?? new Set()
    if (queue.size >= this.#options.maxWaitingPerKey || this.#waiting >= this.#options.maxWaiting) {
      this.#rejected++
      throw new SemaphoreFull()
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const leave = (): void => {
      this.#waiting--
      queue.delete(admit)
      if (queue.size === 0) this.#queues.delete(key)
    }
    const admit = (): void => {
      leave()
      resolve()
    }
    const onAbort = (): void => {
      leave()
      reject(signal?.reason)
    }
    this.#queues.set(key, queue.add(admit))
    this.#waiting++
    signal?.addEventListener('abort', onAbort, { once: true })
    try {
      await promise
    } finally {
      signal?.removeEventListener('abort', onAbort)
    }
  }
}
