import { Kysely, PostgresDialect, type PostgresPool, sql } from 'kysely'
import pg from 'pg'
import { Semaphore, SemaphoreFull, type SemaphoreOptions, SemaphoreTimeout } from '../concurrency/semaphore.ts'
import { ConnectionGenerations } from './connection-generations.ts'
import { asUnavailable, DatabaseUnavailable } from './errors.ts'
import { PrimaryLocator } from './primary-locator.ts'
import { answerWithin } from './query-timeout.ts'
import type { Database } from './schema.ts'
import { sendStatement } from './send-statement.ts'
import { prepareSession } from './session.ts'
import { ALL_SITES, SITE_SETTING } from './site-setting.ts'
import { StatementClient } from './statement-client.ts'

export interface PoolOptions {
  connectionString: string
  /** Shared by all pools and connections to the same database, so that all follow its primary. */
  locator?: PrimaryLocator | undefined
  maxConnections: number
  /** How many callers may wait for a connection, and how long. */
  waiting?: Omit<SemaphoreOptions, 'permits'>
  /** Limit of a statement, milliseconds; 0 for none. The server cancels it. If that fails, its connection is closed. */
  queryTimeoutMs: number
  /** More settings for its sessions, each as `name = value`. */
  settings?: readonly string[]
  /** Called with errors of connections that were idle. */
  onIdleError: (error: Error) => void
}

/** The tables of one pool, limited to a Site or not. */
export interface Tables {
  /** Tables of one Site. No statement sees or writes a row of another Site. */
  ofSite: (siteId: string) => Kysely<Database>
  /** Tables of all Sites. Destroying it closes the pool. */
  ofAllSites: Kysely<Database>
  /** How many callers hold a connection, wait for one, or were rejected. */
  connections: Pick<Semaphore, 'load'>
}

const CONNECT_TIMEOUT_MS = 2_000
/** No connection is in use for longer. For background work, whose callers can wait. */
const BACKGROUND_WAITING = { maxWaiting: 1_000, maxWaitMs: 10_000 }
/**
 * Share of the query time-out after which the server cancels the statement. It acts first, so that the connection stays
 * usable, and so that it has released the locks of a lost caller when that caller tries again.
 */
const SERVER_SHARE = 0.9

/**
 * Opens a connection pool. It connects with the first query.
 *
 * A connection on which anything but a plain SQL error happened is closed instead of used again, because node-postgres
 * and Kysely would hand out a half-dead one for ever.
 *
 * The semaphore stands before the queue of pg-pool, because that queue has no limit, and has one time-out for waiting
 * and for connecting. Background work may wait for 10 s, while connecting must fail sooner.
 *
 * @throws DatabaseUnavailable from a query when the database cannot be reached or cannot write now, or when no
 * connection becomes free in time
 */
export function openTables({ waiting = BACKGROUND_WAITING, settings = [], ...options }: PoolOptions): Tables {
  const { queryTimeoutMs, locator = new PrimaryLocator(options.connectionString) } = options
  const generations = new ConnectionGenerations(locator)
  const pool = new pg.Pool({
    Client: generations.Client,
    onConnect: async client => {
      const session = prepareSession(client, [...limitsOf(queryTimeoutMs), ...settings])
      await answerWithin(CONNECT_TIMEOUT_MS, client, Promise.all([session, locator.assertPrimary(client)]))
    },
    max: options.maxConnections,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    pipeline: true,
    keepAlive: true,
    application_name: 'grantd'
  })
  pool.on('error', options.onIdleError)
  pool.on('connect', client => generations.markConnected(client))
  const connections = new Semaphore({ permits: options.maxConnections, ...waiting })
  const open = (sites: string) => {
    const scoped = siteScoped({ pool, generations, connections, queryTimeoutMs, sites })
    return new Kysely<Database>({ dialect: new PostgresDialect({ pool: scoped }) })
  }
  return { ofSite: siteId => open(oneSite(siteId)), ofAllSites: open(ALL_SITES), connections }
}

/** Requires the id of one Site. The values that row-level security takes for all Sites, or for none, are not ids. */
function oneSite(siteId: string): string {
  if (siteId === ALL_SITES || siteId === '') throw new Error('this is not the id of a Site')
  return siteId
}

/** Opens a pool for work on all Sites. */
export function openDatabase(options: PoolOptions): Kysely<Database> {
  return openTables(options).ofAllSites
}

/**
 * Limits for the session. Without them a backend waits for a lock long after its caller has gone, one more with each
 * try, until Postgres has no connection left. And it keeps what it has locked when its caller is lost.
 */
function limitsOf(queryTimeoutMs: number): string[] {
  const limitMs = Math.ceil(queryTimeoutMs * SERVER_SHARE)
  return [`statement_timeout = ${limitMs}`, `idle_in_transaction_session_timeout = ${limitMs}`]
}

/** Returns whether row-level security holds for this role. It does not for a superuser or a role with BYPASSRLS. */
export async function isRowLevelSecurityActive(db: Kysely<Database>): Promise<boolean> {
  const { rows } = await sql<{ active: boolean }>`select row_security_active('registrations') as active`.execute(db)
  return rows[0]?.active === true
}

interface ScopedOptions {
  pool: pg.Pool
  generations: ConnectionGenerations
  connections: Semaphore
  queryTimeoutMs: number
  /** Value of SITE_SETTING in every transaction. */
  sites: string
}

function siteScoped(options: ScopedOptions): PostgresPool {
  const { pool, generations, connections } = options
  return {
    options: pool.options,
    async connect() {
      await acquire(connections)
      try {
        return new SiteScopedClient(await generations.checkOut(pool), options)
      } catch (error) {
        connections.release()
        throw asUnavailable(error)
      }
    },
    end: () => pool.end()
  }
}

/** @throws DatabaseUnavailable when too many callers wait for a connection, or one waits too long */
async function acquire(connections: Semaphore): Promise<void> {
  try {
    await connections.acquire()
  } catch (error) {
    if (error instanceof SemaphoreFull) throw new DatabaseUnavailable(error, 'too many callers wait for a connection')
    if (error instanceof SemaphoreTimeout) throw new DatabaseUnavailable(error, 'no connection became free in time')
    throw error
  }
}

const BEGIN = /^(begin|start transaction)\b/
const END = /^(commit|rollback)$/

/**
 * A connection from its check-out to its release. It sets its Sites in each transaction, and the setting ends with the
 * transaction, so that it never reaches the next user of the connection. A statement outside a transaction gets a
 * transaction of its own. Statements that belong together are sent together, so that this costs no round trip.
 */
class SiteScopedClient extends StatementClient {
  readonly #client: pg.PoolClient
  readonly #options: ScopedOptions
  #isInTransaction = false
  #isLost = false

  constructor(client: pg.PoolClient, options: ScopedOptions) {
    super()
    this.#client = client
    this.#options = options
    // The pool does not listen while a client is checked out, and an 'error' without a listener ends the process.
    client.on('error', this.#onError)
  }

  protected async send(text: string, parameters: readonly unknown[]): Promise<pg.QueryResult> {
    // Without this, Kysely's rollback would wait for another time-out.
    if (this.#isLost) throw new DatabaseUnavailable('the connection is lost')
    return answerWithin(this.#options.queryTimeoutMs, this.#client, this.#send(text, [...parameters]))
  }

  async #send(text: string, values: unknown[]): Promise<pg.QueryResult> {
    if (BEGIN.test(text)) {
      this.#isInTransaction = true
      const [begun] = await this.#all([sendStatement(this.#client, { text }), this.#setSites()])
      return begun
    }
    if (END.test(text)) this.#isInTransaction = false
    if (this.#isInTransaction || END.test(text)) return sendStatement(this.#client, { text, values })
    const [, , result] = await this.#all([
      sendStatement(this.#client, { text: 'begin' }),
      this.#setSites(),
      sendStatement(this.#client, { text, values }),
      // Rolls back when the statement failed.
      sendStatement(this.#client, { text: 'commit' })
    ])
    return result
  }

  protected failed(error: unknown): void {
    if (this.#options.generations.noteFailure(error, this.#client)) this.#isLost = true
  }

  release(destroy = false): void {
    this.#client.off('error', this.#onError)
    this.#client.release(destroy || this.#isLost || this.#isInTransaction)
    this.#options.connections.release()
  }

  #setSites(): Promise<pg.QueryResult> {
    return sendStatement(this.#client, {
      text: 'select set_config($1, $2, true)',
      values: [SITE_SETTING, this.#options.sites]
    })
  }

  /** Waits for all, so that no query is under way when the connection is released. @throws the first error */
  async #all<T extends Promise<pg.QueryResult>[]>(queries: [...T]): Promise<{ [K in keyof T]: Awaited<T[K]> }> {
    await Promise.allSettled(queries)
    return Promise.all(queries)
  }

  readonly #onError = (): void => {
    this.#isLost = true
  }
}
