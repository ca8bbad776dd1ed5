import pg from 'pg'
import { addressesOf } from './connection-string.ts'
import { DatabaseUnavailable, isLoginRefused, isReadOnly, isUnavailable } from './errors.ts'

const PROBE_TIMEOUT_MS = 1_000
/** Pause after a refused login. It doubles each time, because servers lock out those who try too often. */
const REFUSAL_PAUSE_MS = { first: 500, longest: 5_000 }

interface LocatorOptions {
  /** Reads the connection string again, after the server refused the login. Undefined when it cannot have changed. */
  reread?: (() => string | undefined) | undefined
  /** Called once when connecting begins to fail, and again when the reason changes. */
  onFailure?: ((error: Error) => void) | undefined
}

/**
 * Knows which address of a database accepts writes. A connection string names one address or several, as libpq writes
 * them (`postgresql://user@a:5432,b:5432/grantd?target_session_attrs=read-write`). One of them is the primary.
 *
 * New connections go to the address that was the primary last. When one fails, all addresses are probed at once. When a
 * connection finds that its server rejects writes, a new generation begins: all connections of earlier generations are
 * given up, so that none goes on reading from a former primary.
 */
export class PrimaryLocator {
  readonly #options: LocatorOptions
  readonly #failoverListeners = new Set<() => void>()
  #connectionString: string
  #addresses: readonly string[]
  #current: string
  #searching: Promise<void> | undefined
  #generation = 0
  #failure: Error | undefined
  #refusals = 0
  #pausedUntil = 0

  /** @throws Error when the connection string cannot be parsed */
  constructor(connectionString: string, options: LocatorOptions = {}) {
    this.#options = options
    this.#connectionString = connectionString
    this.#addresses = addressesOf(connectionString)
    this.#current = this.#addresses[0] ?? connectionString
  }

  /** Connection string for the next connection. */
  get current(): string {
    return this.#current
  }

  /** Counts failovers. Connections of an earlier generation are given up. */
  get generation(): number {
    return this.#generation
  }

  /** Calls the listener when a generation ends. @returns removes the listener */
  onFailover(listener: () => void): () => void {
    this.#failoverListeners.add(listener)
    return () => void this.#failoverListeners.delete(listener)
  }

  /** Notes that a statement failed on a connection of this generation. A rejected write may mean a failover. */
  noteFailure(error: unknown, generation: number): void {
    if (this.#addresses.length === 1 || generation !== this.#generation || !isReadOnly(error)) return
    this.#generation++
    for (const listener of this.#failoverListeners) listener()
  }

  /** Checks that a new connection leads to the primary. A single address is not checked. @throws DatabaseUnavailable */
  async assertPrimary(client: pg.ClientBase): Promise<void> {
    if (this.#addresses.length > 1) await assertWritable(client)
  }

  /**
   * Connects to the current address, and to the primary when that fails. After a refused login it reads the password
   * again, and pauses when that has not changed.
   *
   * @throws what `connect` throws; DatabaseUnavailable with the reason for each address
   */
  async connectToPrimary<T>(connect: () => Promise<T>): Promise<T> {
    if (this.#failure !== undefined && performance.now() < this.#pausedUntil) throw this.#failure
    try {
      const connected = await this.#connectAnywhere(connect)
      this.#failure = undefined
      this.#refusals = 0
      return connected
    } catch (error) {
      if (isLoginRefused(error) && this.#hasChanged()) return this.connectToPrimary(connect)
      this.#noteConnectFailure(error)
      throw error
    }
  }

  #hasChanged(): boolean {
    const read = this.#options.reread?.()
    if (read === undefined || read === this.#connectionString) return false
    this.#connectionString = read
    this.#addresses = addressesOf(read)
    this.#current = this.#addresses[0] ?? read
    return true
  }

  #noteConnectFailure(error: unknown): void {
    if (!(error instanceof Error)) return
    if (error.message !== this.#failure?.message) this.#options.onFailure?.(error)
    this.#failure = error
    if (!isLoginRefused(error)) return
    this.#pausedUntil =
      performance.now() + Math.min(REFUSAL_PAUSE_MS.first * 2 ** this.#refusals, REFUSAL_PAUSE_MS.longest)
    this.#refusals++
  }

  async #connectAnywhere<T>(connect: () => Promise<T>): Promise<T> {
    try {
      return await connect()
    } catch (error) {
      if (this.#addresses.length === 1 || !isUnavailable(error)) throw error
    }
    this.#searching ??= this.#search().finally(() => {
      this.#searching = undefined
    })
    await this.#searching
    return connect()
  }

  async #search(): Promise<void> {
    const failures: string[] = []
    const probes = this.#addresses.map(async address => {
      try {
        return await probe(address)
      } catch (error) {
        failures.push(`${new URL(address).host}: ${error instanceof Error ? error.message : String(error)}`)
        throw error
      }
    })
    try {
      this.#current = await Promise.any(probes)
    } catch (error) {
      // A permanent failure, such as an unknown database, is reported as with a single address.
      const permanent = error instanceof AggregateError ? error.errors.find(each => !isUnavailable(each)) : undefined
      throw permanent ?? new DatabaseUnavailable(new Error(failures.join('; ')))
    }
  }
}

/** @returns the address, if its server accepts writes */
async function probe(address: string): Promise<string> {
  const client = new pg.Client({
    connectionString: address,
    connectionTimeoutMillis: PROBE_TIMEOUT_MS,
    query_timeout: PROBE_TIMEOUT_MS,
    application_name: 'grantd probe'
  })
  client.on('error', () => {})
  try {
    await client.connect()
    await assertWritable(client)
    return address
  } finally {
    void client.end().catch(() => {})
  }
}

async function assertWritable(client: pg.ClientBase): Promise<void> {
  const { rows } = await client.query('show transaction_read_only')
  if (rows[0]?.transaction_read_only !== 'off') throw new DatabaseUnavailable(undefined, 'the server rejects writes')
}
