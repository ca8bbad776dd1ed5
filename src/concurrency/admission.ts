import { DatabaseUnavailable } from '../database/errors.ts'

export interface AdmissionLimits {
  /** How many are in at once. */
  places: number
  /** How many more may wait; the next is told at once. */
  maxWaiting: number
  /** The longest that anyone waits. */
  maxWaitMs: number
}

/** Lets in as many as there are places, the first to come first, so that what can't be served soon doesn't pile up. */
export class Admission {
  readonly #limits: AdmissionLimits
  /** Those who wait, in order. */
  readonly #waiting = new Set<() => void>()
  #inside = 0
  #shed = 0

  constructor(limits: AdmissionLimits) {
    this.#limits = limits
  }

  /** Who is inside and who waits now and, for `shed`, who was turned away so far. */
  get load(): { inside: number; waiting: number; shed: number } {
    return { inside: this.#inside, waiting: this.#waiting.size, shed: this.#shed }
  }

  /** Whoever was let in must leave. @throws DatabaseUnavailable when there is no place in time */
  async enter(): Promise<void> {
    if (this.#inside < this.#limits.places) this.#inside++
    else if (this.#waiting.size < this.#limits.maxWaiting) await this.#wait()
    else throw this.#turnAway('too many wait for a connection')
  }

  leave(): void {
    const [next] = this.#waiting
    // The place passes on, so that nobody slips in between.
    if (next === undefined) this.#inside--
    else next()
  }

  #wait(): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const admit = (): void => {
      clearTimeout(timer)
      this.#waiting.delete(admit)
      resolve()
    }
    const timer = setTimeout(() => {
      this.#waiting.delete(admit)
      reject(this.#turnAway('no connection became free in time'))
    }, this.#limits.maxWaitMs)
    this.#waiting.add(admit)
    return promise
  }

  #turnAway(reason: string): DatabaseUnavailable {
    this.#shed++
    return new DatabaseUnavailable(reason)
  }
}
