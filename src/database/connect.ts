import type { Kysely } from 'kysely'
import { migrate, pendingMigrations } from './migrator.ts'
import { type LaneOptions, openLane } from './pipelined-connection.ts'
import { Hosts } from './primary-locator.ts'
import type { Database } from './schema.ts'
import { ALL_SITES, isWalled, openDatabase, openTables, SITE_SETTING, type Tables } from './site-scoped-pool.ts'

export interface DatabaseOptions {
  /** To serve from. */
  url: string
  /** The same database as the owner of the schema. */
  migrationUrl: string | undefined
  /** Connections beside the lanes; some of them are for background work. */
  poolSize: number
  /** Called with errors of connections that nobody was using. */
  onIdleError: (error: Error) => void
  onLaneChange: LaneOptions['onLaneChange']
  /** Serve as the owner of the schema: for a door that does more than serving may. */
  asOwner?: boolean
}

export interface Connection {
  /** For administrators' requests. */
  tables: Tables
  /** For what runs by itself, over all Sites: however many administrators ask for what, it goes on. */
  background: Kysely<Database>
  /** A connection of its own for the look-ups of the token endpoint. */
  lookups: Kysely<Database>
  /** A connection of its own for writing Last used: a commit takes longer than a look-up may wait. */
  lastUses: Kysely<Database>
  /** Does this on a connection of its own, as the owner of the schema. */
  asOwner: <T>(work: (db: Kysely<Database>) => Promise<T>) => Promise<T>
  /** Applies what is pending, as the owner. @returns names of what was applied */
  migrate: () => Promise<string[]>
  /** Is there anything to apply? Needs no more than the serving role. */
  needsMigration: () => Promise<boolean>
  /** Is one Site hidden from the others by the database too? */
  isWalled: () => Promise<boolean>
  close: () => Promise<void>
}

const QUERY_TIMEOUT_MS = 5_000
/** A look-up takes a millisecond: after this long the database is not answering. */
const LOOKUP_TIMEOUT_MS = 1_000
/** The server gives up before we do: nothing waits on there, for a lock, once nobody waits here. */
const LOOKUP_SERVER_TIMEOUT = "statement_timeout = '900ms'"
/** The token endpoint is asked by clients of all Sites. */
export const ALL_SITES_SEEN = `${SITE_SETTING} = '${ALL_SITES}'`
/** Plans are made once for each statement: making them costs more than following them. */
const PLAN_ONCE = 'plan_cache_mode = force_generic_plan'
/**
 * Last used is written in the order of client ids, on every instance, so that no two wait for each other:
 * with these, Postgres follows the list it is given, whatever it knows of the tables' sizes.
 */
const IN_THE_ORDER_GIVEN = ['enable_hashjoin = off', 'enable_mergejoin = off', 'enable_seqscan = off']
/** Less than writing Last used may delay a token: it ends here, and is tried again. */
const LAST_USES_LOCK_TIMEOUT = "lock_timeout = '40ms'"
/** For the session of each lane: each serves one purpose. */
export const settingsOfLanes = {
  lookups: [ALL_SITES_SEEN, PLAN_ONCE, LOOKUP_SERVER_TIMEOUT],
  lastUses: [ALL_SITES_SEEN, PLAN_ONCE, ...IN_THE_ORDER_GIVEN, LAST_USES_LOCK_TIMEOUT]
} as const
/** Whoever waits this long for a connection comes back later: a caller is told, and makes room for others. */
const ADMIN_WAITING = { maxWaiting: 1_000, maxWaitMs: 1_000 }
/** Of the connections, for background work; 3 of 10, so that a slow sweep and a count leave one. */
const BACKGROUND_SHARE = 0.25
/** One that holds the migration lock, one that migrates. */
const OWNER_CONNECTIONS = 2

/** Opens the pools and connections of an instance. Nothing is connected until it is used. */
export async function connect(options: DatabaseOptions): Promise<Connection> {
  const { url, migrationUrl, poolSize, onIdleError } = options
  const ownerUrl = migrationUrl ?? url
  const servingUrl = options.asOwner === true ? ownerUrl : url
  const hosts = new Hosts(servingUrl)
  const pool = { connectionString: servingUrl, hosts, queryTimeoutMs: QUERY_TIMEOUT_MS, onIdleError }
  const backgroundSize = Math.ceil(poolSize * BACKGROUND_SHARE)
  const tables = openTables({ ...pool, maxConnections: poolSize - backgroundSize, waiting: ADMIN_WAITING })
  const background = openDatabase({ ...pool, maxConnections: backgroundSize })
  const { lookups, lastUses } = openLanes(servingUrl, options, hosts)
  const asOwner: Connection['asOwner'] = work => workAs(ownerUrl, onIdleError, work)
  return {
    tables,
    background,
    lookups,
    lastUses,
    needsMigration: async () => (await pendingMigrations(background)).length > 0,
    isWalled: () => isWalled(background),
    asOwner,
    migrate: () => asOwner(migrate),
    close: async () => {
      await Promise.all([tables.ofAllSites.destroy(), background.destroy(), lookups.destroy(), lastUses.destroy()])
    }
  }
}

/** The two lanes of an instance. */
export function openLanes(
  connectionString: string,
  { onLaneChange }: Pick<LaneOptions, 'onLaneChange'>,
  hosts?: Hosts
): Pick<Connection, 'lookups' | 'lastUses'> {
  return {
    lookups: openLane({
      connectionString,
      hosts,
      name: 'lookups',
      queryTimeoutMs: LOOKUP_TIMEOUT_MS,
      settings: settingsOfLanes.lookups,
      onLaneChange
    }),
    lastUses: openLane({
      connectionString,
      hosts,
      name: 'last uses',
      queryTimeoutMs: QUERY_TIMEOUT_MS,
      settings: settingsOfLanes.lastUses,
      onLaneChange
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
