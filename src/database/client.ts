import { Kysely, PostgresDialect, type PostgresPool, sql } from 'kysely'
import pg from 'pg'
import { DatabaseUnavailable, isConnectionLost, isUnavailable } from './errors.ts'
import type { Database } from './schema.ts'
import { StatementClient } from './statement-client.ts'

export interface PoolOptions {
  connectionString: string
  maxConnections: number
  /** A statement that takes longer fails and takes its connection with it; 0 for none. */
  queryTimeoutMs: number
  /** Called with errors of connections that nobody was using. */
  onIdleError: (error: Error) => void
}

/** How long a caller waits for a connection, new or returned by another, before it is told that there is none. */
const CONNECT_TIMEOUT_MS = 2_000

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
  return new Kysely<Database>({ dialect: new PostgresDialect({ pool: watched(pool) }) })
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

  protected send(sql: string, parameters: readonly unknown[]): Promise<pg.QueryResult> {
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
