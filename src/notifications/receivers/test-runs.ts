import { tooManyTests } from './errors.ts'

/** Tests of one Site that may run at once. A test of a silent receiver takes ten seconds. */
const MAX_PER_SITE = 4

/** Limits how many tests of receivers each Site runs at once, so that no Site can hold up another one's tests. */
export class TestRuns {
  readonly #running = new Map<string, number>()

  /** @throws Problem 503 when the Site runs as many tests as it may */
  async run<T>(siteId: string, work: () => Promise<T>): Promise<T> {
    const running = this.#running.get(siteId) ?? 0
    if (running >= MAX_PER_SITE) throw tooManyTests()
    this.#running.set(siteId, running + 1)
    try {
      return await work()
    } finally {
      this.#release(siteId)
    }
  }

  #release(siteId: string): void {
    const left = (this.#running.get(siteId) ?? 1) - 1
    if (left === 0) this.#running.delete(siteId)
    else this.#running.set(siteId, left)
  }
}
