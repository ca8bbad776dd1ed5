import type pg from 'pg'
import { within } from '../concurrency/timeout.ts'
import { withClient } from './client.ts'
import { UnsuitableDatabase } from './errors.ts'
import { servingRole } from './serving-role.ts'
import { MIGRATIONS_TABLE } from './session.ts'

/**
 * Checks that grantd can serve from a database, before anything is written to it.
 *
 * @throws UnsuitableDatabase; DatabaseUnavailable
 */
export async function assertSuitable(servingUrl: string): Promise<void> {
  await withClient(servingUrl, async client => {
    const facts = await factsOf(client)
    const fault = databaseFault(facts) ?? usageFault(facts) ?? (await poolingFault(client, servingUrl))
    if (fault !== undefined) throw new UnsuitableDatabase(fault)
  })
}

/**
 * Checks that the owner can create the tables, or change those that exist.
 *
 * @throws UnsuitableDatabase; DatabaseUnavailable
 */
export async function assertMigratable(client: pg.Client): Promise<void> {
  const facts = await factsOf(client)
  const fault = databaseFault(facts) ?? usageFault(facts) ?? creationFault(facts)
  if (fault !== undefined) throw new UnsuitableDatabase(fault)
}

/**
 * Checks that the role that serves has the rights it needs in the migrated database.
 *
 * @throws UnsuitableDatabase; DatabaseUnavailable
 */
export async function assertGranted(servingUrl: string): Promise<void> {
  await withClient(servingUrl, async client => {
    const { rows } = await client.query(
      `select current_user as role, current_database() as database,
         has_table_privilege('registrations', 'select, update') as is_granted`
    )
    const [{ role, database, is_granted: isGranted }] = rows
    if (isGranted) return
    throw new UnsuitableDatabase(
      `The role "${role}" has no rights on grantd's tables. ${grantingSentence(role, database)}`
    )
  })
}

/** Facts about the server and the database, as the role of a connection sees them. */
interface Facts {
  version: number
  database: string
  encoding: string
  role: string
  /** Schema in which the role would create tables. Null when there is none. */
  schema: string | null
  canCreate: boolean
  /** Whether the role is a member of the serving role. */
  isServing: boolean
  /** Schemas that hold grantd. */
  homes: { name: string; isUsable: boolean; isInSearchPath: boolean }[]
}

/** Reads the facts with the search path that the connection had at first, before grantd chose its own. */
async function factsOf(client: pg.Client): Promise<Facts> {
  await client.query('begin; set local search_path to default')
  const { rows } = await client.query(
    `select current_setting('server_version_num')::int as version, current_database() as database,
       current_setting('server_encoding') as encoding, current_user as role, current_schema() as schema,
       coalesce(has_schema_privilege(current_schema(), 'create'), false) as "canCreate"`
  )
  const homes = await client.query(
    `select nspname as name, has_schema_privilege(pg_namespace.oid, 'usage') as "isUsable",
       nspname = any(current_schemas(false)) as "isInSearchPath"
       from pg_class join pg_namespace on pg_namespace.oid = relnamespace where relname = $1 and relkind = 'r'`,
    [MIGRATIONS_TABLE]
  )
  const [facts] = rows
  const members = await client.query(
    "select coalesce((select pg_has_role(oid, 'usage') from pg_roles where rolname = $1), false) as is_serving",
    [servingRole(facts.database)]
  )
  await client.query('rollback')
  return { ...facts, homes: homes.rows, isServing: members.rows[0].is_serving }
}

const OLDEST_VERSION = 140_000

function databaseFault({ version, database, encoding }: Facts): string | undefined {
  if (version < OLDEST_VERSION) return `grantd needs Postgres 14 or later. This is ${Math.floor(version / 10_000)}.`
  if (encoding === 'UTF8') return undefined
  return (
    `The database "${database}" has the encoding ${encoding}, and grantd needs UTF8. ` +
    "Create one with: create database … encoding 'UTF8' template template0"
  )
}

function usageFault({ homes, role, database, isServing }: Facts): string | undefined {
  const usable = homes.filter(({ isUsable }) => isUsable)
  const [home] = homes
  if (home !== undefined && usable.length === 0) {
    const cure = isServing
      ? `Its owner must run: grant usage on schema "${home.name}" to "${servingRole(database)}"`
      : grantingSentence(role, database)
    return `The role "${role}" may not use the schema "${home.name}" of grantd. ${cure}`
  }
  if (usable.length < 2 || usable.some(({ isInSearchPath }) => isInSearchPath)) return undefined
  return (
    `The schemas ${usable.map(({ name }) => `"${name}"`).join(' and ')} both hold grantd. ` +
    `Choose one with: alter role "${role}" set search_path = …`
  )
}

function creationFault({ homes, schema, role, canCreate }: Facts): string | undefined {
  if (homes.length > 0 || canCreate) return undefined
  return schema === null
    ? `The role "${role}" has no schema for grantd's tables. Create one with: create schema "${role}" authorization "${role}"`
    : `The role "${role}" may not create tables in the schema "${schema}". Allow it with: grant create on schema "${schema}" to "${role}"`
}

function grantingSentence(role: string, database: string): string {
  return `Migrate as the owner of the schema, then run: grant "${servingRole(database)}" to "${role}"`
}

const POOLING_CHECK_MS = 1_000

/**
 * Finds a pooler that pools by transaction. It gives the session of a connection to other connections between two
 * transactions, and with it the setting by which row-level security decides. Right clients would not be found.
 */
async function poolingFault(client: pg.Client, connectionString: string): Promise<string | undefined> {
  const before = await backendOf(client)
  const isTaken = await withClient(connectionString, async other => {
    // Takes the session that the pooler would give to the next transaction.
    await other.query('begin')
    await backendOf(other)
    const during = backendOf(client)
    // A pooler with a single session makes it wait, and is harmless.
    return (await within(POOLING_CHECK_MS, during)) && (await during) !== before
  })
  if (!isTaken) return undefined
  return (
    'DATABASE_URL leads to a pooler that pools by transaction. Let it pool by session (PgBouncer: pool_mode = session), ' +
    'or connect to Postgres directly'
  )
}

async function backendOf(client: pg.Client): Promise<number> {
  const { rows } = await client.query('select pg_backend_pid() as pid')
  return rows[0].pid
}
