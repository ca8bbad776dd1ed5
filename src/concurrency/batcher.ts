/** Too many items already wait for their batch. Nothing was done; trying again later may help. */
export class BatcherFull extends Error {
  constructor() {
    super('too many items are waiting')
    this.name = 'BatcherFull'
  }
}

/** A batch takes longer than it may. Its outcome is not known. */
export class BatchOverdue extends Error {
  constructor() {
    super('a batch takes too long')
    this.name = 'BatchOverdue'
  }
}

export interface BatcherOptions<Item, Result> {
  /**
   * Processes one batch, whose items have different keys. Returns a function that gives the result for each key.
   * When it throws, every item of the batch fails with that error.
   */
  process: (batch: ReadonlyMap<string, Item>) => Promise<(key: string) => Result>
  /** Makes one item of two with the same key. By default the first one stands for both. */
  merge?: (gathered: Item, added: Item) => Item
  /** How many batches are processed at once, by default any number. Meanwhile the next batch gathers. */
  maxConcurrent?: number
  /**
   * How long the latest batch must have been processed before an item starts another one beside it, milliseconds; 0 by
   * default. A batch that ends sooner is followed at once by all that have gathered.
   */
  leadMs?: number
  /** How many items may wait for their result, by default any number. */
  maxWaiting?: number
  /**
   * The longest that an item waits, milliseconds; by default as long as it takes. When a batch takes longer, its items
   * and all that gather behind it fail with BatchOverdue. New items fail at once, until a batch has ended again.
   */
  maxMs?: number
  /** Called when a batch succeeds after its items have failed with BatchOverdue. */
  onLate?: (batch: ReadonlyMap<string, Item>, resultOf: (key: string) => Result) => void
}

/** The result that each key of a batch waits for. */
type Results<Result> = ReadonlyMap<string, PromiseWithResolvers<Result>>

/**
 * Gathers items until the end of the turn of the event loop, and longer while enough batches are being processed.
 * Items with the same key are one item of the batch and share its result.
 */
export class Batcher<Item, Result> {
  readonly #options: BatcherOptions<Item, Result>
  /** The next batch, and the results of its keys. */
  #items = new Map<string, Item>()
  #results = new Map<string, PromiseWithResolvers<Result>>()
  #isScheduled = false
  #underWay = 0
  /** When the latest batch was sent, of performance.now(). */
  #sentAt = 0
  #waiting = 0
  #isOverdue = false
  #flushed: PromiseWithResolvers<void> | undefined

  constructor(options: BatcherOptions<Item, Result>) {
    this.#options = options
  }

  /** Counts the items that wait for their result. Items with the same key in one batch count as one. */
  get waiting(): number {
    return this.#waiting
  }

  /** @throws BatcherFull; BatchOverdue; what processing the batch throws */
  add(key: string, item: Item): Promise<Result> {
    if (this.#isOverdue) return Promise.reject(new BatchOverdue())
    const { merge, maxWaiting = Number.POSITIVE_INFINITY } = this.#options
    const gathered = this.#items.get(key)
    const shared = this.#results.get(key)
    if (gathered !== undefined && shared !== undefined) {
      if (merge !== undefined) this.#items.set(key, merge(gathered, item))
      return shared.promise
    }
    if (this.#waiting >= maxWaiting) return Promise.reject(new BatcherFull())
    this.#waiting++
    const result = Promise.withResolvers<Result>()
    this.#items.set(key, item)
    this.#results.set(key, result)
    this.#schedule()
    return result.promise
  }

  /** Resolves when no item waits any more. */
  async flush(): Promise<void> {
    if (this.#waiting === 0) return
    this.#flushed ??= Promise.withResolvers()
    await this.#flushed.promise
  }

  #schedule(): void {
    const { maxConcurrent = Number.POSITIVE_INFINITY, leadMs = 0 } = this.#options
    if (this.#isScheduled || this.#underWay >= maxConcurrent) return
    if (this.#underWay > 0 && performance.now() - this.#sentAt < leadMs) return
    this.#isScheduled = true
    // Other items of this turn of the event loop join the batch.
    setImmediate(() => void this.#send())
  }

  async #send(): Promise<void> {
    const batch = this.#items
    const results = this.#results
    this.#items = new Map()
    this.#results = new Map()
    this.#isScheduled = false
    if (batch.size === 0) return
    this.#underWay++
    this.#sentAt = performance.now()
    const resultOf = await this.#process(batch, results)
    this.#underWay--
    this.#waiting -= batch.size
    // In the order in which they were added, so that the order of the answers does not depend on the results.
    for (const [key, result] of results) {
      try {
        result.resolve(resultOf(key))
      } catch (error) {
        result.reject(error)
      }
    }
    if (this.#items.size > 0) this.#schedule()
    if (this.#waiting > 0) return
    this.#flushed?.resolve()
    this.#flushed = undefined
  }

  /** Returns a function that gives the result for each key, or throws the error of the batch. */
  async #process(batch: ReadonlyMap<string, Item>, results: Results<Result>): Promise<(key: string) => Result> {
    const { process, maxMs, onLate } = this.#options
    let isLate = false
    const giveUp = () => {
      isLate = true
      this.#giveUp(results)
    }
    const overdue = maxMs === undefined ? undefined : setTimeout(giveUp, maxMs)
    try {
      const resultOf = await process(batch)
      if (isLate) onLate?.(batch, resultOf)
      return resultOf
    } catch (error) {
      return () => {
        throw error
      }
    } finally {
      clearTimeout(overdue)
      this.#isOverdue = false
    }
  }

  #giveUp(results: Results<Result>): void {
    this.#isOverdue = true
    for (const each of [results, this.#results]) {
      for (const result of each.values()) result.reject(new BatchOverdue())
    }
    // Nothing waits for what has gathered, so it is not processed.
    this.#waiting -= this.#items.size
    this.#items = new Map()
    this.#results = new Map()
  }
}
