import type { Kysely } from 'kysely'
import { openDatabase } from './client.ts'
import { startEmbeddedPostgres } from './embedded.ts'
import { type LaneOptions, openLane } from './lane.ts'
import { migrate, pendingMigrations } from './migrator.ts'
import type { Database } from './schema.ts'

export interface DatabaseOptions {
  /** To serve from; undefined for the embedded Postgres. */
  url: string | undefined
  /** The same database as the owner of the schema. */
  migrationUrl: string | undefined
  poolSize: number
  /** Where the embedded Postgres keeps its data. */
  folder: string
  /** Called with errors of connections that nobody was using. */
  onIdleError: (error: Error) => void
  onLaneChange: LaneOptions['onLaneChange']
  /** Serve as the owner of the schema: for a door that does more than serving may. */
  asOwner?: boolean
}

export interface Connection {
  /** The pool to serve from. */
  db: Kysely<Database>
  /** A connection of its own for the look-ups of the token endpoint. */
  lookups: Kysely<Database>
  /** A connection of its own for writing Last used: a commit takes longer than a look-up may wait. */
  lastUses: Kysely<Database>
  /** Applies what is pending, as the owner. @returns names of what was applied */
  migrate: () => Promise<string[]>
  /** Is there anything to apply? Needs no more than the serving role. */
  needsMigration: () => Promise<boolean>
  close: () => Promise<void>
}

const QUERY_TIMEOUT_MS = 5_000
/** A look-up takes a millisecond: after this long the database is not answering. */
const LOOKUP_TIMEOUT_MS = 1_000
/** One that holds the migration lock, one that migrates. */
const MIGRATION_CONNECTIONS = 2

/** Opens the database that the configuration names, or starts or joins the embedded one. */
export async function connect(options: DatabaseOptions): Promise<Connection> {
  const { url, migrationUrl, poolSize, folder, onIdleError } = options
  const embedded = url === undefined ? await startEmbeddedPostgres(folder) : undefined
  const leastUrl = url ?? embedded?.servingUrl ?? ''
  const ownerUrl = migrationUrl ?? embedded?.ownerUrl ?? leastUrl
  const servingUrl = options.asOwner === true ? ownerUrl : leastUrl
  const db = openDatabase({
    connectionString: servingUrl,
    maxConnections: poolSize,
    queryTimeoutMs: QUERY_TIMEOUT_MS,
    onIdleError
  })
  const lookups = openLane({
    ...options,
    connectionString: servingUrl,
    name: 'lookups',
    queryTimeoutMs: LOOKUP_TIMEOUT_MS
  })
  const lastUses = openLane({
    ...options,
    connectionString: servingUrl,
    name: 'last uses',
    queryTimeoutMs: QUERY_TIMEOUT_MS
  })
  return {
    db,
    lookups,
    lastUses,
    needsMigration: async () => (await pendingMigrations(db)).length > 0,
    migrate: () => migrateAs(ownerUrl, onIdleError),
    close: async () => {
      await Promise.all([db.destroy(), lookups.destroy(), lastUses.destroy()])
      embedded?.release()
    }
  }
}

async function migrateAs(connectionString: string, onIdleError: (error: Error) => void): Promise<string[]> {
  const db = openDatabase({ connectionString, maxConnections: MIGRATION_CONNECTIONS, queryTimeoutMs: 0, onIdleError })
  try {
    return await migrate(db)
  } finally {
    await db.destroy()
  }
}
