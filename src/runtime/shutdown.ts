/** Time for requests in flight and buffered writes, in milliseconds. Orchestrators kill after 10 s. */
const TIMEOUT_MS = 9_500

/** Ends a process once, in order, and within a time limit. */
export class Shutdown {
  readonly #timeoutMs: number
  #close = async (_isReplaced: boolean): Promise<void> => {}
  #isStarted = false

  constructor(timeoutMs = TIMEOUT_MS) {
    this.#timeoutMs = timeoutMs
  }

  get isStarted(): boolean {
    return this.#isStarted
  }

  /** Sets what closes the process. Before that there is nothing to close. */
  onClose(close: (isReplaced: boolean) => Promise<void>): void {
    this.#close = close
  }

  /**
   * Closes and exits. A second call has no effect.
   *
   * @param isReplaced does another process serve on the same port already?
   */
  async start(exitCode = 0, isReplaced = false): Promise<void> {
    if (this.#isStarted) return
    this.#isStarted = true
    setTimeout(() => process.exit(1), this.#timeoutMs).unref()
    try {
      await this.#close(isReplaced)
      process.exit(exitCode)
    } catch (error) {
      process.stderr.write(
        `grantd did not shut down cleanly: ${error instanceof Error ? error.message : String(error)}\n`
      )
      process.exit(1)
    }
  }
}

/** Shuts down on SIGTERM and SIGINT. A second signal ends the process at once. */
export function shutDownOnSignals(shutdown: Shutdown): void {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => (shutdown.isStarted ? process.exit(1) : void shutdown.start()))
  }
}
