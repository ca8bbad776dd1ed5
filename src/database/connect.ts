import type { Kysely } from 'kysely'
import { withClient } from './client.ts'
import { type Migrated, migrate, pendingMigrations } from './migrator.ts'
import { openPipelinedConnection, type PipelinedConnectionOptions } from './pipelined-connection.ts'
import { assertGranted, assertMigratable, assertSuitable } from './preflight.ts'
import { PrimaryLocator } from './primary-locator.ts'
import type { Database } from './schema.ts'
import { isRowLevelSecurityActive, openDatabase, openTables, type Tables } from './site-scoped-pool.ts'
import { ALL_SITES_VISIBLE } from './site-setting.ts'

export interface DatabaseOptions {
  /** Connection string of the role that serves. */
  url: string
  /** Reads the connection string again, after the server refused the login. Undefined when it cannot have changed. */
  rereadUrl?: () => string | undefined
  /** The same database as the owner of the schema; `url` by default. */
  migrationUrl: string | undefined
  /** Connections of the pools. The five pipelined connections come on top. */
  poolSize: number
  /** Called with errors of connections that were idle. */
  onIdleError: (error: Error) => void
  onConnectionChange: PipelinedConnectionOptions['onConnectionChange']
  /** Called once when connecting begins to fail, and again when the reason changes. */
  onConnectFailure?: (error: Error) => void
  /** Serves as the owner of the schema: for a command that needs more than the rights of serving. */
  asOwner?: boolean
}

export interface Connection {
  /** For administrators' requests. */
  tables: Tables
  /** For background work on all Sites. Administrators' requests cannot take its connections. */
  background: Kysely<Database>
  /** Pipelined connection for the look-ups of the token endpoint. */
  lookups: Kysely<Database>
  /** Calls back each time that this connection is up. The database may have lost commits before, by a failover or a restore. */
  onLookupsUp: (listener: () => void) => void
  /** Pipelined connection that writes Last used. A commit takes longer than a look-up may wait. */
  lastUsedWriter: Kysely<Database>
  /**
   * Pipelined connection that records the use of assertions. It is opened by the first one, so that a service without
   * public keys has a connection less.
   */
  assertionUses: Kysely<Database>
  /**
   * Pipelined connection that reads the standing of tokens, so that a flood of introspections delays no look-up. It is
   * opened by the first one.
   */
  standings: Kysely<Database>
  /** Pipelined connection of health checks, which neither delay others nor wait for them. */
  health: Kysely<Database>
  /** Runs work on a pool of its own, as the owner of the schema. */
  asOwner: <T>(work: (db: Kysely<Database>) => Promise<T>) => Promise<T>
  /** Checks that grantd can serve from the database. @throws UnsuitableDatabase; DatabaseUnavailable */
  assertSuitable: () => Promise<void>
  /** Applies the pending migrations as the owner of the schema. @throws UnsuitableDatabase; DatabaseUnavailable */
  migrate: () => Promise<Migrated>
  /** Returns whether migrations are pending. The rights of serving are enough. */
  needsMigration: () => Promise<boolean>
  /** Checks that the role that serves has its rights in the migrated database. @throws UnsuitableDatabase */
  assertGranted: () => Promise<void>
  /** Returns whether row-level security separates the Sites. */
  isRowLevelSecurityActive: () => Promise<boolean>
  close: () => Promise<void>
}

const QUERY_TIMEOUT_MS = 5_000
/** A look-up takes a millisecond. After this long the database does not answer. */
const LOOKUP_TIMEOUT_MS = 1_000
/** The server gives up first, so that no statement waits there for a lock when its caller has gone. */
const LOOKUP_SERVER_TIMEOUT = "statement_timeout = '900ms'"
/** Plans each statement once, because planning costs more than executing. */
const PLAN_ONCE = 'plan_cache_mode = force_generic_plan'
/**
 * Every instance writes Last used in the order of client ids, so that no two of them wait for each other. With these
 * settings Postgres follows the order of the list, whatever it knows about the sizes of the tables.
 */
const IN_THE_ORDER_GIVEN = ['enable_hashjoin = off', 'enable_mergejoin = off', 'enable_seqscan = off']
/** Less than writing Last used may delay a token. The write fails then and is tried again. */
const LAST_USED_LOCK_TIMEOUT = "lock_timeout = '40ms'"
/**
 * Each statement of an administrator's request has an index, and so has the one that reads standings. Where Postgres
 * underestimates how many rows a filter leaves, or has planned while a table was small, it would read a whole table instead.
 */
const BY_INDEX = ['enable_seqscan = off']
/** Session settings of the administrators' pool and of the pipelined connections. */
export const sessionSettings = {
  administration: BY_INDEX,
  lookups: [ALL_SITES_VISIBLE, PLAN_ONCE, LOOKUP_SERVER_TIMEOUT],
  standings: [ALL_SITES_VISIBLE, PLAN_ONCE, LOOKUP_SERVER_TIMEOUT, ...BY_INDEX],
  lastUsedWriter: [ALL_SITES_VISIBLE, PLAN_ONCE, ...IN_THE_ORDER_GIVEN, LAST_USED_LOCK_TIMEOUT]
} as const
/** An administrator's request that cannot get a connection in this time is answered with 503, and makes room. */
const ADMIN_WAITING = { maxWaiting: 1_000, maxWaitMs: 1_000 }
/** Share of the connections for background work: 3 of 10, so that a slow sweep and a count leave one. */
const BACKGROUND_SHARE = 0.25
const OWNER_CONNECTIONS = 2

/** Opens the pools and connections of an instance. Each connects when it is used first. */
export async function connect(options: DatabaseOptions): Promise<Connection> {
  const { url, migrationUrl, poolSize, onIdleError } = options
  const ownerUrl = migrationUrl ?? url
  const servingUrl = options.asOwner === true ? ownerUrl : url
  const locator = new PrimaryLocator(servingUrl, {
    ...(options.asOwner === true ? {} : { reread: options.rereadUrl }),
    onFailure: options.onConnectFailure
  })
  const pool = { connectionString: servingUrl, locator, queryTimeoutMs: QUERY_TIMEOUT_MS, onIdleError }
  const backgroundSize = Math.ceil(poolSize * BACKGROUND_SHARE)
  const tables = openTables({
    ...pool,
    maxConnections: poolSize - backgroundSize,
    waiting: ADMIN_WAITING,
    settings: sessionSettings.administration
  })
  const background = openDatabase({ ...pool, maxConnections: backgroundSize })
  const listeners: (() => void)[] = []
  const onLookupsUp = (): void => {
    for (const listener of listeners) listener()
  }
  const pipelined = openPipelinedConnections(servingUrl, { ...options, onLookupsUp }, locator)
  return {
    tables,
    background,
    ...pipelined,
    onLookupsUp: listener => void listeners.push(listener),
    asOwner: work => workAs(ownerUrl, onIdleError, work),
    assertSuitable: () => assertSuitable(servingUrl),
    migrate: () =>
      withClient(ownerUrl, async client => {
        await assertMigratable(client)
        return migrate(client)
      }),
    needsMigration: async () => (await pendingMigrations(background)).length > 0,
    assertGranted: () => assertGranted(servingUrl),
    isRowLevelSecurityActive: () => isRowLevelSecurityActive(background),
    close: async () => {
      const all = [tables.ofAllSites, background, ...Object.values(pipelined)]
      await Promise.all(all.map(each => each.destroy()))
    }
  }
}

/** Opens the pipelined connections of an instance. */
export function openPipelinedConnections(
  connectionString: string,
  { onConnectionChange, onLookupsUp }: Pick<DatabaseOptions, 'onConnectionChange'> & { onLookupsUp?: () => void },
  locator?: PrimaryLocator
): Pick<Connection, 'lookups' | 'lastUsedWriter' | 'assertionUses' | 'standings' | 'health'> {
  return {
    lookups: openPipelinedConnection({
      connectionString,
      locator,
      name: 'lookups',
      queryTimeoutMs: LOOKUP_TIMEOUT_MS,
      settings: sessionSettings.lookups,
      onConnectionChange: (name, isUp) => {
        onConnectionChange(name, isUp)
        if (isUp) onLookupsUp?.()
      }
    }),
    lastUsedWriter: openPipelinedConnection({
      connectionString,
      locator,
      name: 'last used',
      queryTimeoutMs: QUERY_TIMEOUT_MS,
      settings: sessionSettings.lastUsedWriter,
      onConnectionChange
    }),
    assertionUses: openPipelinedConnection({
      connectionString,
      locator,
      name: 'assertion uses',
      queryTimeoutMs: LOOKUP_TIMEOUT_MS,
      settings: sessionSettings.lookups,
      onConnectionChange
    }),
    standings: openPipelinedConnection({
      connectionString,
      locator,
      name: 'standings',
      queryTimeoutMs: LOOKUP_TIMEOUT_MS,
      settings: sessionSettings.standings,
      onConnectionChange
    }),
    health: openPipelinedConnection({
      connectionString,
      locator,
      name: 'health',
      queryTimeoutMs: LOOKUP_TIMEOUT_MS,
      settings: sessionSettings.lookups,
      onConnectionChange
    })
  }
}

async function workAs<T>(
  connectionString: string,
  onIdleError: (error: Error) => void,
  work: (db: Kysely<Database>) => Promise<T>
): Promise<T> {
  const db = openDatabase({ connectionString, maxConnections: OWNER_CONNECTIONS, queryTimeoutMs: 0, onIdleError })
  try {
    return await work(db)
  } finally {
    await db.destroy()
  }
}
