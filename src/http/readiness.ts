import { within } from '../concurrency/timeout.ts'

/** Orchestrators ask every few seconds. A flood of health checks costs four checks a second. */
const KEPT_MS = 250
/** A check that takes longer has failed. */
const LIMIT_MS = 1_000

interface ReadinessOptions {
  /** Rejects when requests cannot be served. */
  check: () => Promise<unknown>
  /** Called once when the check begins to fail. */
  onFailure: (error: unknown) => void
}

/** Says whether requests can be served now. All who ask at about the same time share one check. */
export class Readiness {
  readonly #options: ReadinessOptions
  #latest: Promise<boolean> | undefined
  #keptUntil = Number.POSITIVE_INFINITY
  #isFailing = false

  constructor(options: ReadinessOptions) {
    this.#options = options
  }

  isReady(): Promise<boolean> {
    if (this.#latest === undefined || performance.now() > this.#keptUntil) {
      this.#keptUntil = Number.POSITIVE_INFINITY
      this.#latest = this.#check()
    }
    return this.#latest
  }

  async #check(): Promise<boolean> {
    const fault = await this.#findFault()
    if (fault !== undefined && !this.#isFailing) this.#options.onFailure(fault)
    this.#isFailing = fault !== undefined
    this.#keptUntil = performance.now() + KEPT_MS
    return fault === undefined
  }

  async #findFault(): Promise<unknown> {
    try {
      if (await within(LIMIT_MS, this.#options.check())) return undefined
      return new Error(`no answer within ${LIMIT_MS} ms`)
    } catch (error) {
      return error
    }
  }
}
