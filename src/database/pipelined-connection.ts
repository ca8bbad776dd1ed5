import { setTimeout as sleep } from 'node:timers/promises'
import { Kysely, PostgresDialect, type PostgresPool } from 'kysely'
import pg from 'pg'
import { DatabaseUnavailable, isConnectionLost } from './errors.ts'
import { PrimaryLocator } from './primary-locator.ts'
import { answerWithin } from './query-timeout.ts'
import type { Database } from './schema.ts'
import { sendStatement } from './send-statement.ts'
import { prepareSession } from './session.ts'
import { StatementClient } from './statement-client.ts'

export interface PipelinedConnectionOptions {
  connectionString: string
  /** Shared by all pools and connections to the same database, so that all follow its primary. */
  locator?: PrimaryLocator | undefined
  /** Limit of a statement, milliseconds. When one takes longer, it fails with all statements that wait behind it. */
  queryTimeoutMs: number
  /** Settings for its session, each as `name = value`. */
  settings: readonly string[]
  /** Names the connection in the log, in metrics and in pg_stat_activity. */
  name: string
  /** Called when the connection of this name is lost, and when it is up. */
  onConnectionChange: (name: string, isUp: boolean) => void
}

const CONNECT_TIMEOUT_MS = 1_000
const RECONNECT_PAUSE_MS = 100

/**
 * Opens one connection for statements that must not wait for a pool. It is pipelined: statements are sent without
 * waiting for the answers to those before. Each statement is prepared once.
 *
 * It is for short statements only, each a transaction of its own: never send `begin`. While the connection is lost,
 * statements fail at once, and it reconnects in the background.
 *
 * @throws DatabaseUnavailable from a query while there is no connection
 */
export function openPipelinedConnection(options: PipelinedConnectionOptions): Kysely<Database> {
  return new Kysely<Database>({ dialect: new PostgresDialect({ pool: new PipelinedConnection(options) }) })
}

class PipelinedConnection implements PostgresPool {
  readonly options = {}
  readonly #options: PipelinedConnectionOptions
  readonly #locator: PrimaryLocator
  readonly #removeListener: () => void
  #client: PipelinedClient | undefined
  /** Statements wait for the first attempt to connect. */
  #first: Promise<void> | undefined
  #isEnded = false

  constructor(options: PipelinedConnectionOptions) {
    this.#options = options
    this.#locator = options.locator ?? new PrimaryLocator(options.connectionString)
    this.#removeListener = this.#locator.onFailover(() => {
      if (this.#client !== undefined) this.#lose(this.#client)
    })
  }

  async connect(): Promise<PipelinedClient> {
    if (this.#client === undefined) {
      this.#first ??= this.#open().catch(() => this.#reconnect())
      await this.#first
    }
    if (this.#client === undefined) throw new DatabaseUnavailable('the connection is lost')
    return this.#client
  }

  async end(): Promise<void> {
    this.#isEnded = true
    this.#removeListener()
    await this.#client?.end()
  }

  async #open(): Promise<void> {
    this.#client = await this.#locator.connectToPrimary(() => this.#connect())
    this.#options.onConnectionChange(this.#options.name, true)
  }

  async #connect(): Promise<PipelinedClient> {
    const { queryTimeoutMs, settings, name } = this.#options
    const client = new pg.Client({
      connectionString: this.#locator.current,
      pipeline: true,
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      keepAlive: true,
      application_name: `grantd ${name}`
    })
    const { generation } = this.#locator
    const pipelined = new PipelinedClient(client, queryTimeoutMs, error => {
      this.#locator.noteFailure(error, generation)
      if (isConnectionLost(error)) this.#lose(pipelined)
    })
    client.on('error', () => this.#lose(pipelined))
    client.on('end', () => this.#lose(pipelined))
    try {
      await client.connect()
      const session = prepareSession(client, settings)
      await answerWithin(CONNECT_TIMEOUT_MS, client, Promise.all([session, this.#locator.assertPrimary(client)]))
      if (generation !== this.#locator.generation) throw new DatabaseUnavailable('the primary may have changed')
      return pipelined
    } catch (error) {
      void pipelined.end()
      throw error
    }
  }

  #lose(client: PipelinedClient): void {
    if (this.#client !== client) return
    this.#client = undefined
    void client.end()
    if (this.#isEnded) return
    this.#options.onConnectionChange(this.#options.name, false)
    this.#reconnect()
  }

  /** Not awaited by statements. They fail at once until it has succeeded. */
  #reconnect(): void {
    void this.#reconnectUntilUp()
  }

  async #reconnectUntilUp(): Promise<void> {
    while (!this.#isEnded && this.#client === undefined) {
      await sleep(RECONNECT_PAUSE_MS, undefined, { ref: false })
      await this.#open().catch(() => {})
    }
  }
}

class PipelinedClient extends StatementClient {
  readonly #client: pg.Client
  readonly #queryTimeoutMs: number
  readonly #onFailure: (error: unknown) => void
  readonly #names = new Map<string, string>()

  constructor(client: pg.Client, queryTimeoutMs: number, onFailure: (error: unknown) => void) {
    super()
    this.#client = client
    this.#queryTimeoutMs = queryTimeoutMs
    this.#onFailure = onFailure
  }

  protected send(text: string, values: readonly unknown[]): Promise<pg.QueryResult> {
    const answer = sendStatement(this.#client, { name: this.#nameOf(text), text, values: [...values] })
    return answerWithin(this.#queryTimeoutMs, this.#client, answer)
  }

  protected failed(error: unknown): void {
    this.#onFailure(error)
  }

  release(): void {}

  async end(): Promise<void> {
    await this.#client.end()
  }

  /** Names the prepared statement of this text. There is a handful of texts. */
  #nameOf(text: string): string {
    const name = this.#names.get(text) ?? `grantd_${this.#names.size}`
    this.#names.set(text, name)
    return name
  }
}
