/** Too much Argon2 work is waiting; nothing was done. Trying again in a second may help. */
export class HashGateFull extends Error {
  constructor() {
    super('too much hashing is waiting')
    this.name = 'HashGateFull'
  }
}

/**
 * Lets so many pieces of Argon2 work run at once, holds so many more back in order, and refuses the rest.
 *
 * Argon2 and node:crypto's asynchronous work share libuv's few threads: without a gate, a flood of wrong
 * secrets takes them all.
 */
export class HashGate {
  readonly #maxRunning: number
  readonly #maxWaiting: number
  readonly #waiting: (() => void)[] = []
  #running = 0
  #shed = 0

  constructor(maxRunning: number, maxWaiting: number) {
    this.#maxRunning = maxRunning
    this.#maxWaiting = maxWaiting
  }

  /** Pieces of work now and, for `shed`, refused so far. */
  get load(): { running: number; waiting: number; shed: number } {
    return { running: this.#running, waiting: this.#waiting.length, shed: this.#shed }
  }

  /** @throws HashGateFull */
  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#running < this.#maxRunning) this.#running++
    else if (this.#waiting.length < this.#maxWaiting) await new Promise<void>(resolve => this.#waiting.push(resolve))
    else {
      this.#shed++
      throw new HashGateFull()
    }
    try {
      return await work()
    } finally {
      const next = this.#waiting.shift()
      // The place passes on, so that nobody slips in between.
      if (next === undefined) this.#running--
      else next()
    }
  }
}
