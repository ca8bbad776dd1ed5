import pg from 'pg'
import { urlsOf } from './addresses.ts'
import { DatabaseUnavailable, isReadOnly, isUnavailable } from './errors.ts'

const PROBE_TIMEOUT_MS = 1_000

/**
 * Where a database is: one address or several, as libpq writes them
 * (`postgresql://user@a:5432,b:5432/grantd?target_session_attrs=read-write`), of which one takes writes at a time.
 *
 * New connections go to the address that took writes last. When one fails, all are asked at once who does now. Once a
 * connection is told that writes are not taken there, all that were made before are given up: nobody goes on reading
 * from what was the primary.
 */
export class Hosts {
  readonly #urls: readonly string[]
  readonly #onDoubt = new Set<() => void>()
  #current: string
  #searching: Promise<void> | undefined
  #era = 0

  /** @throws Error when the connection string can't be read */
  constructor(connectionString: string) {
    this.#urls = urlsOf(connectionString)
    this.#current = this.#urls[0] ?? connectionString
  }

  /** For the next connection. */
  get current(): string {
    return this.#current
  }

  /** Connections of an earlier era are given up. */
  get era(): number {
    return this.#era
  }

  /** Calls this when an era ends. @returns stops that */
  onDoubt(listener: () => void): () => void {
    this.#onDoubt.add(listener)
    return () => void this.#onDoubt.delete(listener)
  }

  /** A statement failed on a connection of this era: may it be that another address takes writes now? */
  noteFailure(error: unknown, era: number): void {
    if (this.#urls.length === 1 || era !== this.#era || !isReadOnly(error)) return
    this.#era++
    for (const listener of this.#onDoubt) listener()
  }

  /** Whoever is just connected: does it take writes? With one address whatever is there will do. @throws DatabaseUnavailable */
  async check(client: pg.ClientBase): Promise<void> {
    if (this.#urls.length > 1) await checkWrites(client)
  }

  /**
   * Connects; where that fails and another address takes writes now, there.
   *
   * @throws as `connect` does; DatabaseUnavailable that says of each address why not
   */
  async reach<T>(connect: () => Promise<T>): Promise<T> {
    try {
      return await connect()
    } catch (error) {
      if (this.#urls.length === 1 || !isUnavailable(error)) throw error
    }
    this.#searching ??= this.#search().finally(() => {
      this.#searching = undefined
    })
    await this.#searching
    return connect()
  }

  async #search(): Promise<void> {
    const failures: string[] = []
    const probes = this.#urls.map(async url => {
      try {
        return await probe(url)
      } catch (error) {
        failures.push(`${new URL(url).host}: ${error instanceof Error ? error.message : String(error)}`)
        throw error
      }
    })
    try {
      this.#current = await Promise.any(probes)
    } catch (error) {
      // What no waiting mends, such as a wrong password, is told as with one address.
      const lasting = error instanceof AggregateError ? error.errors.find(each => !isUnavailable(each)) : undefined
      throw lasting ?? new DatabaseUnavailable(new Error(failures.join('; ')))
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
    await checkWrites(client)
    return url
  } finally {
    void client.end().catch(() => {})
  }
}

/** @throws DatabaseUnavailable when it takes none */
async function checkWrites(client: pg.ClientBase): Promise<void> {
  const { rows } = await client.query('show transaction_read_only')
  if (rows[0]?.transaction_read_only !== 'off') throw new DatabaseUnavailable(undefined, 'it takes no writes')
}
