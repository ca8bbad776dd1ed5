import { setTimeout as sleep } from 'node:timers/promises'
import { Kysely, PostgresDialect, type PostgresPool } from 'kysely'
import pg from 'pg'
import { DatabaseUnavailable, isConnectionLost } from './errors.ts'
import { Hosts } from './primary-locator.ts'
import type { Database } from './schema.ts'
import { StatementClient } from './statement-client.ts'

export interface LaneOptions {
  connectionString: string
  /** Shared with others on the same database, so that all follow where it goes. */
  hosts?: Hosts | undefined
  /** A statement that takes longer fails, and with it the connection and all that wait on it. */
  queryTimeoutMs: number
  /** For its session, as `name = value`. */
  settings: readonly string[]
  /** Tells lanes apart, in the log and in pg_stat_activity. */
  name: string
  /** Called when the connection of this name is lost, and when it is there. */
  onLaneChange: (name: string, isUp: boolean) => void
}

const CONNECT_TIMEOUT_MS = 1_000
const RECONNECT_PAUSE_MS = 100

/**
 * Opens one connection for statements that may not wait for a pool: pipelined, each prepared once by name.
 *
 * For short statements, each a transaction of its own: never `begin` on it. While it is lost, statements fail at once
 * rather than pile up; it is made anew behind their back.
 *
 * @throws DatabaseUnavailable from any query while there is no connection
 */
export function openLane(options: LaneOptions): Kysely<Database> {
  return new Kysely<Database>({ dialect: new PostgresDialect({ pool: new LaneConnection(options) }) })
}

class LaneConnection implements PostgresPool {
  readonly options = {}
  readonly #lane: LaneOptions
  readonly #hosts: Hosts
  readonly #unwatch: () => void
  #client: LaneClient | undefined
  /** The first connection, which statements wait for. */
  #first: Promise<void> | undefined
  #isEnded = false

  constructor(options: LaneOptions) {
    this.#lane = options
    this.#hosts = options.hosts ?? new Hosts(options.connectionString)
    this.#unwatch = this.#hosts.onDoubt(() => {
      if (this.#client !== undefined) this.#lose(this.#client)
    })
  }

  async connect(): Promise<LaneClient> {
    if (this.#client === undefined) {
      this.#first ??= this.#open().catch(() => this.#reopen())
      await this.#first
    }
    if (this.#client === undefined) throw new DatabaseUnavailable('the connection is lost')
    return this.#client
  }

  async end(): Promise<void> {
    this.#isEnded = true
    this.#unwatch()
    await this.#client?.end()
  }

  async #open(): Promise<void> {
    this.#client = await this.#hosts.reach(() => this.#connect())
    this.#lane.onLaneChange(this.#lane.name, true)
  }

  async #connect(): Promise<LaneClient> {
    const { queryTimeoutMs, settings, name } = this.#lane
    const client = new pg.Client({
      connectionString: this.#hosts.current,
      pipeline: true,
      query_timeout: queryTimeoutMs,
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      keepAlive: true,
      application_name: `grantd ${name}`
    })
    const { era } = this.#hosts
    const lane = new LaneClient(client, error => {
      this.#hosts.noteFailure(error, era)
      if (isConnectionLost(error)) this.#lose(lane)
    })
    client.on('error', () => this.#lose(lane))
    client.on('end', () => this.#lose(lane))
    try {
      await client.connect()
      await this.#hosts.check(client)
      await client.query(settings.map(setting => `set ${setting}`).join(';'))
      if (era !== this.#hosts.era) throw new DatabaseUnavailable('writes may be taken elsewhere by now')
      return lane
    } catch (error) {
      void lane.end()
      throw error
    }
  }

  #lose(lane: LaneClient): void {
    if (this.#client !== lane) return
    this.#client = undefined
    void lane.end()
    if (this.#isEnded) return
    this.#lane.onLaneChange(this.#lane.name, false)
    this.#reopen()
  }

  /** Nobody waits for it: whoever asks meanwhile is told at once that there is no connection. */
  #reopen(): void {
    void this.#reopenUntilUp()
  }

  async #reopenUntilUp(): Promise<void> {
    while (!this.#isEnded && this.#client === undefined) {
      await sleep(RECONNECT_PAUSE_MS, undefined, { ref: false })
      await this.#open().catch(() => {})
    }
  }
}

class LaneClient extends StatementClient {
  readonly #client: pg.Client
  readonly #onFailure: (error: unknown) => void
  readonly #names = new Map<string, string>()

  constructor(client: pg.Client, onFailure: (error: unknown) => void) {
    super()
    this.#client = client
    this.#onFailure = onFailure
  }

  protected send(text: string, values: readonly unknown[]): Promise<pg.QueryResult> {
    return this.#client.query({ name: this.#nameOf(text), text, values: [...values] })
  }

  protected failed(error: unknown): void {
    this.#onFailure(error)
  }

  release(): void {}

  async end(): Promise<void> {
    await this.#client.end()
  }

  /** The lane has a handful of statements: each is parsed once by the server. */
  #nameOf(text: string): string {
    const name = this.#names.get(text) ?? `lane_${this.#names.size}`
    this.#names.set(text, name)
    return name
  }
}
