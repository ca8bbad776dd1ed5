import { later, type Use } from './use.ts'

/** The latest use of each client. */
export type Uses = ReadonlyMap<string, Use>

interface Batch {
  uses: Map<string, Use>
  committed: Promise<void>
  commit: () => void
}

/**
 * Gathers uses while a batch is being written, and writes them as the next: whatever the load, one write at a time,
 * one entry per client. What fails is tried again with what came since; nothing is forgotten.
 */
export class GroupCommit {
  readonly #write: (uses: Uses) => Promise<void>
  readonly #pause: () => Promise<void>
  readonly #onError: (error: unknown) => void
  #gathering = newBatch()
  #writing: Promise<void> | undefined

  /** Clients whose use is noted and waits for the next write. */
  get waiting(): number {
    return this.#gathering.uses.size
  }

  /** @param pause between a write that failed and the next */
  constructor(write: (uses: Uses) => Promise<void>, pause: () => Promise<void>, onError: (error: unknown) => void) {
    this.#write = write
    this.#pause = pause
    this.#onError = onError
  }

  /** @returns when this use is committed */
  note(clientId: string, use: Use): Promise<void> {
    const batch = this.#gathering
    batch.uses.set(clientId, later(use, batch.uses.get(clientId)))
    this.#writing ??= this.#writeAll()
    return batch.committed
  }

  /** @returns when all that was noted is committed */
  async flush(): Promise<void> {
    await this.#writing
  }

  async #writeAll(): Promise<void> {
    while (this.#gathering.uses.size > 0) {
      // What this turn of the event loop still brings goes along.
      await new Promise(setImmediate)
      const batch = this.#gathering
      this.#gathering = newBatch()
      try {
        await this.#write(batch.uses)
        batch.commit()
      } catch (error) {
        this.#onError(error)
        this.#putBack(batch)
        await this.#pause()
      }
    }
    this.#writing = undefined
  }

  #putBack(batch: Batch): void {
    const { uses, committed } = this.#gathering
    for (const [clientId, use] of batch.uses) uses.set(clientId, later(use, uses.get(clientId)))
    void committed.then(batch.commit)
  }
}

function newBatch(): Batch {
  const { promise, resolve } = Promise.withResolvers<void>()
  return { uses: new Map(), committed: promise, commit: resolve }
}
