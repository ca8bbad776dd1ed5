import { mergeRefusals, type Refusal, type Refusals, type Slot } from './refusal.ts'

/** Registrations whose refusals wait to be written, at most. Refusals of further ones are dropped. */
export const MAX_WAITING = 10_000
/** Registrations in one statement. Building it takes less than a millisecond. */
const BATCH_SIZE = 500

interface RecorderOptions {
  /** Writes the refusals of those of these clients that exist. */
  write: (refusals: ReadonlyMap<string, Refusals>) => Promise<void>
  /** Resolves when the next write may follow. */
  pause: () => Promise<void>
  log: {
    info: (message: string) => void
    warn: (fields: object, message: string) => void
  }
}

/**
 * Gathers refusals and writes them with a pause after each write, so that a flood of guesses costs next to nothing. The
 * first refusal after a quiet time is written at once.
 */
export class RefusalRecorder {
  readonly #options: RecorderOptions
  #waiting = new Map<string, Refusals>()
  #isDue = false
  #isRunning = false
  #isFailing = false
  /** The write that is under way, or the latest one. */
  #written = Promise.resolve()

  constructor(options: RecorderOptions) {
    this.#options = options
  }

  /** Counts the registrations whose refusals wait to be written. */
  get waiting(): number {
    return this.#waiting.size
  }

  /**
   * Notes a refusal.
   *
   * A write follows at the same time whether the client exists or not, so that no later answer reveals it. Refusals of
   * unknown clients have no slot and are not kept: made-up ids must not use up the memory.
   */
  note(clientId: string, slot: Slot | undefined, refusal: Refusal): void {
    if (slot !== undefined) this.#keep(clientId, { [slot]: refusal })
    this.#isDue = true
    if (!this.#isRunning) void this.#run()
  }

  /** Resolves when what waits was written, or could not be. */
  async flush(): Promise<void> {
    await this.#written
    if (this.waiting > 0) await this.#write()
  }

  #keep(clientId: string, refusals: Refusals): void {
    const kept = this.#waiting.get(clientId)
    if (kept === undefined && this.#waiting.size >= MAX_WAITING) return
    this.#waiting.set(clientId, {
      withCredential: mergeRefusals(kept?.withCredential, refusals.withCredential),
      withoutCredential: mergeRefusals(kept?.withoutCredential, refusals.withoutCredential)
    })
  }

  async #run(): Promise<void> {
    this.#isRunning = true
    while (this.#isDue) {
      this.#isDue = false
      this.#written = this.#write()
      await Promise.all([this.#written, this.#options.pause()])
    }
    this.#isRunning = false
  }

  /** Also sends a statement when nothing waits: see `note`. */
  async #write(): Promise<void> {
    const batch = [...this.#waiting]
    this.#waiting = new Map()
    for (let from = 0; from === 0 || from < batch.length; from += BATCH_SIZE) {
      await this.#writePart(batch.slice(from, from + BATCH_SIZE))
    }
  }

  async #writePart(part: readonly (readonly [clientId: string, Refusals])[]): Promise<void> {
    const { write, log } = this.#options
    try {
      await write(new Map(part))
      if (this.#isFailing) log.info('refusals are written again')
      this.#isFailing = false
    } catch (error) {
      if (!this.#isFailing) log.warn({ err: error }, 'refusals could not be written and will be retried')
      this.#isFailing = true
      // They join the next write. If this one was committed after all, they count twice.
      for (const [clientId, refusals] of part) this.#keep(clientId, refusals)
      this.#isDue = true
    }
  }
}
