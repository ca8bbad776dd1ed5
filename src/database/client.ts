import { Kysely, PostgresDialect, type PostgresPool, sql } from 'kysely'
import pg from 'pg'
import { DatabaseUnavailable, isConnectionLost, isUnavailable } from './errors.ts'
import type { Database } from './schema.ts'
import { StatementClient } from './statement-client.ts'

export interface PoolOptions {
  connectionString: string
  maxConnections: number
  /** A statement that takes longer fails; when the server doesn't even say so, its connection ends too. 0 for none. */
  queryTimeoutMs: number
  /** Called with errors of connections that nobody was using. */
  onIdleError: (error: Error) => void
}

/** How long a caller waits for a connection, new or returned by another, before it is told that there is none. */
const CONNECT_TIMEOUT_MS = 2_000
/** Of a query's time-out: the server gives up first, and the connection stays good. */
const SERVER_SHARE = 0.9
/** Times a query's time-out: nothing of ours pauses so long within a transaction, but a machine that is lost does. */
const PAUSE_SHARE = 2

/**
 * Opens a pool as a Kysely instance. No connection is made before the first query.
 *
 * A connection on which anything but a plain SQL error happened is closed rather than used again:
 * node-postgres and Kysely would hand out a half-dead one for ever.
 *
 * @throws DatabaseUnavailable from any query when the database can't be reached or can't write now
 */
export function openDatabase(options: PoolOptions): Kysely<Database> {
  const pool = new pg.Pool({
    connectionString: options.connectionString,
    max: options.maxConnections,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    query_timeout: options.queryTimeoutMs,
    keepAlive: true,
    application_name: 'grantd'
  })
  pool.on('error', options.onIdleError)
  // Queued before the first statement. Should it fail, so does that.
  if (options.queryTimeoutMs > 0) {
    pool.on('connect', client => void client.query(limitsOf(options.queryTimeoutMs)).catch(() => {}))
  }
  return new Kysely<Database>({ dialect: new PostgresDialect({ pool: watched(pool) }) })
}

/**
 * For the session: without them a backend waits for a lock long after its caller has gone, one more with each try,
 * until Postgres has no connection left; and keeps what it has locked when the machine of its caller is lost.
 */
function limitsOf(queryTimeoutMs: number): string {
  return (
    `set statement_timeout = ${Math.ceil(queryTimeoutMs * SERVER_SHARE)};` +
    `set idle_in_transaction_session_timeout = ${queryTimeoutMs * PAUSE_SHARE}`
  )
}

/** Does the database answer now? */
export async function isReachable(db: Kysely<Database>): Promise<boolean> {
  try {
    await sql`select 1`.execute(db)
    return true
  } catch {
    return false
  }
}

function watched(pool: pg.Pool): PostgresPool {
  return {
    options: pool.options,
    async connect() {
      try {
        return new WatchedClient(await pool.connect())
      } catch (error) {
        throw isUnavailable(error) ? new DatabaseUnavailable(error) : error
      }
    },
    end: () => pool.end()
  }
}

class WatchedClient extends StatementClient {
  readonly #client: pg.PoolClient
  #lost = false

  constructor(client: pg.PoolClient) {
    super()
    this.#client = client
    // While a client is checked out nobody else listens, and an unheard 'error' would end the process.
    client.on('error', this.#onError)
  }

  protected async send(sql: string, parameters: readonly unknown[]): Promise<pg.QueryResult> {
    // Kysely's rollback would wait for its time-out once more.
    if (this.#lost) throw new Error('the connection is lost')
    return this.#client.query(sql, [...parameters])
  }

  protected failed(error: unknown): void {
    if (isConnectionLost(error)) this.#lost = true
  }

  release(destroy = false): void {
    this.#client.off('error', this.#onError)
    this.#client.release(destroy || this.#lost)
  }

  readonly #onError = (): void => {
    this.#lost = true
  }
}
