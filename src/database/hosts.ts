import pg from 'pg'
import { urlsOf } from './addresses.ts'
import { DatabaseUnavailable, isUnavailable } from './errors.ts'

const PROBE_TIMEOUT_MS = 1_000

/**
 * Where a database is: one address or several, as libpq writes them
 * (`postgresql://user@a:5432,b:5432/grantd?target_session_attrs=read-write`), of which one takes writes at a time.
 *
 * New connections go to the address that took writes last. When one fails, all are asked at once who does now.
 */
export class Hosts {
  readonly #urls: readonly string[]
  #current: string
  #searching: Promise<boolean> | undefined

  /** @throws Error when the connection string can't be read */
  constructor(connectionString: string) {
    this.#urls = urlsOf(connectionString)
    this.#current = this.#urls[0] ?? connectionString
  }

  /** For the next connection. */
  get current(): string {
    return this.#current
  }

  /** Whoever is just connected: does it take writes? With one address whatever is there will do. @throws DatabaseUnavailable */
  async check(client: pg.ClientBase): Promise<void> {
    if (this.#urls.length > 1 && !(await takesWrites(client))) throw new DatabaseUnavailable('it takes no writes')
  }

  /** Connects; where that fails and another address takes writes now, there. @throws as `connect` does */
  async reach<T>(connect: () => Promise<T>): Promise<T> {
    try {
      return await connect()
    } catch (error) {
      if (!isUnavailable(error) || !(await this.#search())) throw error
      return connect()
    }
  }

  /** Looks for the address that takes writes, after one that failed. @returns is there one to try? */
  async #search(): Promise<boolean> {
    if (this.#urls.length === 1) return false
    this.#searching ??= this.#ask().finally(() => {
      this.#searching = undefined
    })
    return this.#searching
  }

  async #ask(): Promise<boolean> {
    try {
      this.#current = await Promise.any(this.#urls.map(probe))
      return true
    } catch {
      return false
    }
  }
}

/** @returns the URL, if what is there takes writes */
async function probe(url: string): Promise<string> {
  const client = new pg.Client({
    connectionString: url,
    connectionTimeoutMillis: PROBE_TIMEOUT_MS,
    query_timeout: PROBE_TIMEOUT_MS,
    application_name: 'grantd probe'
  })
  client.on('error', () => {})
  try {
    await client.connect()
    if (!(await takesWrites(client))) throw new Error('it takes no writes')
    return url
  } finally {
    void client.end().catch(() => {})
  }
}

async function takesWrites(client: pg.ClientBase): Promise<boolean> {
  const { rows } = await client.query('show transaction_read_only')
  return rows[0]?.transaction_read_only === 'off'
}
