import { appendFileSync, closeSync, openSync, rmSync } from 'node:fs'

/** A file for what only one answer has, Client secrets and claim tickets: a JSON object in each line. Only its owner can read it. */
export class SecretsFile {
  readonly #path: string
  #isEmpty = true

  /** Creates the file. @throws Error when it exists, because it may hold the only copy of a secret */
  constructor(path: string) {
    this.#path = path
    try {
      closeSync(openSync(path, 'wx', 0o600))
    } catch (error) {
      throw new Error(`--secrets-file must name a new file that can be written: ${messageOf(error)}`)
    }
  }

  /** Appends an entry and waits until it is on the disk. */
  keep(entry: { key: string; clientId: string; clientSecret?: string; claim?: object }): void {
    try {
      appendFileSync(this.#path, `${JSON.stringify(entry)}\n`, { flush: true })
    } catch (error) {
      throw new Error(`the secret of ${entry.key} is lost, so rotate it: ${messageOf(error)}`)
    }
    this.#isEmpty = false
  }

  /** Removes the file when nothing was kept. */
  close(): void {
    if (this.#isEmpty) rmSync(this.#path, { force: true })
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
