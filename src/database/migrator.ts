import { readdir, readFile } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Kysely, sql } from 'kysely'
import pg from 'pg'
import type { Database } from './schema.ts'
import { servingRole } from './serving-role.ts'
import { MIGRATIONS_TABLE } from './session.ts'

const MIGRATIONS_FOLDER = path.join(import.meta.dirname, '../../migrations')

export interface Migrated {
  /** Names of the migrations that were applied now, oldest first. */
  applied: string[]
  /** Sentences for the operator. */
  warnings: string[]
}

/**
 * Applies the pending migrations, and grants the rights of the serving role.
 *
 * Each migration runs in a transaction of its own, so that an earlier one stays when a later one fails. It waits only
 * shortly for a table that is in use, because every statement on that table would wait behind it, and then tries again.
 * Any number of instances may call it at once: one applies, the others wait and find nothing to do.
 *
 * @param client a session of the owner of the schema, as `prepareSession` prepares it; its end frees the lock
 * @throws the error of the migration that failed
 */
export async function migrate(client: pg.Client): Promise<Migrated> {
  const warnings: string[] = []
  client.on('notice', ({ severity, message = '' }) => {
    if (severity === 'WARNING') warnings.push(message)
  })
  await lock(client)
  await client.query(
    `create table if not exists ${MIGRATIONS_TABLE} (
       name text constraint ${MIGRATIONS_TABLE}_pkey primary key, applied_at timestamptz(3) not null default now())`
  )
  const { rows } = await client.query(`select name from ${MIGRATIONS_TABLE}`)
  const present = rows.map(({ name }) => String(name))
  const known = await readMigrations()
  const unknown = present.filter(name => !known.has(name))
  if (unknown.length > 0) throw new Error(`the database was migrated by a later release: ${unknown.join(', ')}`)
  const pending = [...known].filter(([name]) => !present.includes(name))
  for (const [name, text] of pending) await apply(client, name, text)
  await grantServingRole(client)
  return { applied: pending.map(([name]) => name), warnings }
}

async function grantServingRole(client: pg.Client): Promise<void> {
  const { rows } = await client.query('select current_database() as database')
  await client.query(`select set_config('grantd.serving_role', $1, false)`, [servingRole(rows[0].database)])
  await inTransaction(client, await readFile(path.join(MIGRATIONS_FOLDER, 'serving-role.sql'), 'utf8'))
}

/**
 * Returns the names of the migrations that this release has and the database has not, oldest first.
 *
 * @param db any role that may read the table of migrations
 */
export async function pendingMigrations(db: Kysely<Database>): Promise<string[]> {
  const names = [...(await readMigrations()).keys()]
  const { rows } = await sql<{
    exists: boolean
  }>`select to_regclass(${MIGRATIONS_TABLE}) is not null as exists`.execute(db)
  if (rows[0]?.exists !== true) return names
  const present = await sql<{ name: string }>`select name from ${sql.table(MIGRATIONS_TABLE)}`.execute(db)
  return names.filter(name => !present.rows.some(row => row.name === name))
}

/** Reads `NNNN_what.sql`, in the order of their numbers. */
async function readMigrations(): Promise<Map<string, string>> {
  const files = (await readdir(MIGRATIONS_FOLDER)).filter(file => /^\d{4}_.*\.sql$/.test(file)).sort()
  const read = async (file: string) =>
    [path.basename(file, '.sql'), await readFile(path.join(MIGRATIONS_FOLDER, file), 'utf8')] as const
  return new Map(await Promise.all(files.map(read)))
}

const LOCK_POLL_MS = 100

/**
 * Waits until no other session migrates this schema. It polls, because a session that waits within a statement holds a
 * snapshot, for which `create index concurrently` would wait in turn.
 */
async function lock(client: pg.Client): Promise<void> {
  for (;;) {
    const { rows } = await client.query(
      `select pg_try_advisory_lock(hashtext('grantd migrations'), hashtext(current_schema())) as is_held`
    )
    if (rows[0]?.is_held === true) return
    await sleep(LOCK_POLL_MS)
  }
}

/** First line of a migration that cannot run in a transaction, such as `create index concurrently`. It is one statement. */
const OUTSIDE_TRANSACTION = /^-- outside a transaction\n/
/** A statement that waits for a lock makes all later statements on that table wait. */
const LOCK_TIMEOUT = '2s'
const STATEMENT_TIMEOUT = '30min'
/** A table may be in use for long: by a dump, or by an administrator who left a transaction open. */
const PATIENCE_MS = 60_000
const RETRY_PAUSE_MS = 500
/** lock_not_available and deadlock_detected: another transaction was first. */
const LOCK_CONFLICTS = ['55P03', '40P01']

/**
 * Applies one migration, and records its name.
 *
 * @param lockTimeout longest wait for a lock, as Postgres writes it
 */
export async function apply(client: pg.Client, name: string, text: string, lockTimeout = LOCK_TIMEOUT): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS
  for (;;) {
    try {
      if (!OUTSIDE_TRANSACTION.test(text)) return await inTransaction(client, text, name, lockTimeout)
      await client.query(text)
      return await inTransaction(client, '', name)
    } catch (error) {
      const isConflict = error instanceof pg.DatabaseError && LOCK_CONFLICTS.includes(error.code ?? '')
      if (!isConflict || performance.now() > deadline) throw error
      await sleep(RETRY_PAUSE_MS * (1 + Math.random()))
    }
  }
}

/** Runs statements in a transaction, with limits. @param name of a migration that it records as applied */
async function inTransaction(
  client: pg.Client,
  text: string,
  name?: string,
  lockTimeout = LOCK_TIMEOUT
): Promise<void> {
  await client.query('begin')
  try {
    await client.query(
      `set local lock_timeout = '${lockTimeout}'; set local statement_timeout = '${STATEMENT_TIMEOUT}'`
    )
    await client.query(text)
    if (name !== undefined) await client.query(`insert into ${MIGRATIONS_TABLE} (name) values ($1)`, [name])
    await client.query('commit')
  } catch (error) {
    // The error of the migration counts, also when the connection is gone.
    await client.query('rollback').catch(() => {})
    throw error
  }
}
