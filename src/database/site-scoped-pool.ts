import { Kysely, PostgresDialect, type PostgresPool, sql } from 'kysely'
import pg from 'pg'
import { Semaphore, SemaphoreFull, type SemaphoreOptions, SemaphoreTimeout } from '../concurrency/semaphore.ts'
import { asUnavailable, DatabaseUnavailable, isConnectionLost } from './errors.ts'
import { Hosts } from './primary-locator.ts'
import type { Database } from './schema.ts'
import { StatementClient } from './statement-client.ts'

export interface PoolOptions {
  connectionString: string
  /** Shared with others on the same database, so that all follow where it goes. */
  hosts?: Hosts | undefined
  maxConnections: number
  /** Callers that wait for a connection at most, and how long; as many and as long as it takes unless told. */
  waiting?: Omit<SemaphoreOptions, 'permits'>
  /** A statement that takes longer fails; when the server doesn't even say so, its connection ends too. 0 for none. */
  queryTimeoutMs: number
  /** Called with errors of connections that nobody was using. */
  onIdleError: (error: Error) => void
}

/** The tables, as far as one may see them: each is the same pool. */
export interface Tables {
  /** Of one Site: no statement sees or writes a row of another, whatever it asks for. */
  ofSite: (siteId: string) => Kysely<Database>
  /** Of all Sites. Destroying it closes the pool. */
  ofAllSites: Kysely<Database>
  /** How many callers hold a connection, wait for one, or were rejected. */
  connections: Pick<Semaphore, 'load'>
}

/** What row-level security goes by (migrations/0001_schema.sql): a Site's id, or ALL_SITES. */
export const SITE_SETTING = 'grantd.site_id'
/** No Site's id. */
export const ALL_SITES = '*'

const CONNECT_TIMEOUT_MS = 2_000
/** As long as a connection is ever in use, with nobody to tell meanwhile. */
const PATIENCE = { maxWaiting: 1_000, maxWaitMs: 10_000 }
/**
 * Of a query's time-out: the server gives up first, and the connection stays good; or it has let go of the locks of a
 * caller that is lost when its caller tries again. Nothing of ours pauses so long within a transaction.
 */
const SERVER_SHARE = 0.9

/**
 * Opens a pool. No connection is made before the first query.
 *
 * A connection on which anything but a plain SQL error happened is closed rather than used again:
 * node-postgres and Kysely would hand out a half-dead one for ever.
 *
 * @throws DatabaseUnavailable from any query when the database can't be reached or can't write now, or when no
 * connection becomes free in time
 */
export function openTables({ waiting = PATIENCE, ...options }: PoolOptions): Tables {
  const { hosts = new Hosts(options.connectionString) } = options
  const eras = new Eras(hosts)
  const pool = new pg.Pool({
    Client: eras.Client,
    onConnect: client => hosts.check(client),
    max: options.maxConnections,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    query_timeout: options.queryTimeoutMs,
    pipeline: true,
    keepAlive: true,
    application_name: 'grantd'
  })
  pool.on('error', options.onIdleError)
  pool.on('connect', client => eras.noteConnected(client))
  // Queued before the first statement. Should it fail, so does that.
  if (options.queryTimeoutMs > 0) {
    pool.on('connect', client => void client.query(limitsOf(options.queryTimeoutMs)).catch(() => {}))
  }
  const connections = new Semaphore({ permits: options.maxConnections, ...waiting })
  const open = (sites: string) =>
    new Kysely<Database>({ dialect: new PostgresDialect({ pool: walled(pool, eras, connections, sites) }) })
  return { ofSite: open, ofAllSites: open(ALL_SITES), connections }
}

/** A pool for work on all Sites. */
export function openDatabase(options: PoolOptions): Kysely<Database> {
  return openTables(options).ofAllSites
}

/**
 * For the session: without them a backend waits for a lock long after its caller has gone, one more with each try,
 * until Postgres has no connection left; and keeps what it has locked when its caller is lost.
 */
function limitsOf(queryTimeoutMs: number): string {
  const limitMs = Math.ceil(queryTimeoutMs * SERVER_SHARE)
  return `set statement_timeout = ${limitMs}; set idle_in_transaction_session_timeout = ${limitMs}`
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

/** Does row-level security hold for this login? Not for a superuser, nor for one with BYPASSRLS. */
export async function isWalled(db: Kysely<Database>): Promise<boolean> {
  const { rows } = await sql<{ active: boolean }>`select row_security_active('registrations') as active`.execute(db)
  return rows[0]?.active === true
}

/** @param sites value of SITE_SETTING in every transaction */
function walled(pool: pg.Pool, eras: Eras, connections: Semaphore, sites: string): PostgresPool {
  return {
    options: pool.options,
    async connect() {
      await acquire(connections)
      try {
        return new WalledClient(await eras.checkOut(pool), eras, sites, () => connections.release())
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
    if (error instanceof SemaphoreFull) throw new DatabaseUnavailable(error, 'too many wait for a connection')
    if (error instanceof SemaphoreTimeout) throw new DatabaseUnavailable(error, 'no connection became free in time')
    throw error
  }
}

/**
 * When a pool's connections were made. An era ends when one of them is lost without a word of the server, and when
 * writes are taken elsewhere; those made before are closed rather than handed out. Of a machine that has gone, idle
 * ones don't know it: each would cost a caller a time-out.
 */
class Eras {
  /** Goes to where writes are taken when it is made. */
  readonly Client: new () => pg.Client
  readonly #hosts: Hosts
  readonly #hostsEras = new WeakMap<pg.ClientBase, number>()
  readonly #connectedAfter = new WeakMap<pg.ClientBase, number>()
  #losses = 0

  constructor(hosts: Hosts) {
    this.#hosts = hosts
    const made = (client: pg.Client) => this.#hostsEras.set(client, hosts.era)
    this.Client = class extends pg.Client {
      constructor(options?: pg.ClientConfig) {
        super({ ...options, connectionString: hosts.current })
        made(this)
      }
    }
  }

  /** It has just been answered: no loss of before says anything of it. */
  noteConnected(client: pg.ClientBase): void {
    this.#connectedAfter.set(client, this.#losses)
  }

  /** A connection of this era, where writes are taken. */
  checkOut(pool: pg.Pool): Promise<pg.PoolClient> {
    return this.#hosts.reach(async () => {
      for (;;) {
        const client = await pool.connect()
        if (this.#isOfNow(client)) return client
        client.release(true)
        // Nobody may be there to say goodbye to.
        if (client instanceof pg.Client) client.connection.stream.destroy()
      }
    })
  }

  /** A statement failed. @returns whether the connection is lost */
  noteFailure(error: unknown, client: pg.ClientBase): boolean {
    const isUnannounced = !(error instanceof pg.DatabaseError || error instanceof DatabaseUnavailable)
    // Of many that are lost together, the first.
    if (isUnannounced && this.#isOfNow(client)) this.#losses++
    this.#hosts.noteFailure(error, this.#hostsEras.get(client) ?? -1)
    return isConnectionLost(error)
  }

  #isOfNow(client: pg.ClientBase): boolean {
    return this.#connectedAfter.get(client) === this.#losses && this.#hostsEras.get(client) === this.#hosts.era
  }
}

const BEGIN = /^(begin|start transaction)\b/
const END = /^(commit|rollback)$/

/**
 * A connection from when it is checked out until it is given back. Its Sites are set in each transaction and end with
 * it, so that they never reach whoever has the connection next; a statement outside one gets a transaction of its own.
 * What belongs together is sent together: the wall costs no round trip.
 */
class WalledClient extends StatementClient {
  readonly #client: pg.PoolClient
  readonly #eras: Eras
  readonly #sites: string
  readonly #onRelease: () => void
  #isInTransaction = false
  #isLost = false

  constructor(client: pg.PoolClient, eras: Eras, sites: string, onRelease: () => void) {
    super()
    this.#client = client
    this.#eras = eras
    this.#sites = sites
    this.#onRelease = onRelease
    // While a client is checked out nobody else listens, and an unheard 'error' would end the process.
    client.on('error', this.#onError)
  }

  protected async send(text: string, parameters: readonly unknown[]): Promise<pg.QueryResult> {
    // Kysely's rollback would wait for its time-out once more.
    if (this.#isLost) throw new DatabaseUnavailable('the connection is lost')
    const values = [...parameters]
    if (BEGIN.test(text)) {
      this.#isInTransaction = true
      const [begun] = await this.#all([this.#client.query(text), this.#setSites()])
      return begun
    }
    if (END.test(text)) this.#isInTransaction = false
    if (this.#isInTransaction || END.test(text)) return this.#client.query(text, values)
    const [, , result] = await this.#all([
      this.#client.query('begin'),
      this.#setSites(),
      this.#client.query(text, values),
      // Rolls back when the statement failed.
      this.#client.query('commit')
    ])
    return result
  }

  protected failed(error: unknown): void {
    if (this.#eras.noteFailure(error, this.#client)) this.#isLost = true
  }

  release(destroy = false): void {
    this.#client.off('error', this.#onError)
    this.#client.release(destroy || this.#isLost || this.#isInTransaction)
    this.#onRelease()
  }

  #setSites(): Promise<pg.QueryResult> {
    return this.#client.query('select set_config($1, $2, true)', [SITE_SETTING, this.#sites])
  }

  /** Waits for all, so that nothing is under way when the connection is given back. @throws the first error */
  async #all<T extends Promise<pg.QueryResult>[]>(queries: [...T]): Promise<{ [K in keyof T]: Awaited<T[K]> }> {
    await Promise.allSettled(queries)
    return Promise.all(queries)
  }

  readonly #onError = (): void => {
    this.#isLost = true
  }
}
