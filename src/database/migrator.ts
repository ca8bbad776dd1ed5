import { readdir, readFile } from 'node:fs/promises'
import path from 'node:path'
import { type Kysely, sql } from 'kysely'
import { type Migration, Migrator } from 'kysely/migration'
import type { Database } from './schema.ts'

const MIGRATIONS_FOLDER = path.join(import.meta.dirname, '../../migrations')

/**
 * Brings the schema up to date: all pending `NNNN_what.sql` in one transaction, then the serving role's grants.
 * Any number of instances may call it at once; an advisory lock lets one work and the others find it done.
 *
 * @param db connected as the owner of the schema
 * @returns names of the migrations that were applied now
 * @throws the error of the migration that failed; nothing was applied then
 */
export async function migrate(db: Kysely<Database>): Promise<string[]> {
  const { error, results = [] } = await migrator(db).migrateToLatest()
  if (error !== undefined) throw error
  const applied = results.filter(result => result.status === 'Success').map(result => result.migrationName)
  await grantServingRole(db)
  return applied
}

/** @returns names of the migrations that this release has and the database has not, oldest first */
export async function pendingMigrations(db: Kysely<Database>): Promise<string[]> {
  const migrations = await migrator(db).getMigrations()
  return migrations.filter(migration => migration.executedAt === undefined).map(migration => migration.name)
}

function migrator(db: Kysely<Database>): Migrator {
  return new Migrator({ db, provider: { getMigrations: readMigrations } })
}

async function readMigrations(): Promise<Record<string, Migration>> {
  const files = (await readdir(MIGRATIONS_FOLDER)).filter(file => /^\d{4}_.*\.sql$/.test(file)).sort()
  const migrations: Record<string, Migration> = {}
  for (const file of files) {
    const text = await readFile(path.join(MIGRATIONS_FOLDER, file), 'utf8')
    migrations[path.basename(file, '.sql')] = { up: async trx => void (await sql.raw(text).execute(trx)) }
  }
  return migrations
}

/** One at a time: two sessions that grant on the same table at once fail with "tuple concurrently updated". */
const GRANT_LOCK = 4_711_001

async function grantServingRole(db: Kysely<Database>): Promise<void> {
  const grants = await readFile(path.join(MIGRATIONS_FOLDER, 'serving-role.sql'), 'utf8')
  await db.transaction().execute(async trx => {
    await sql`select pg_advisory_xact_lock(${GRANT_LOCK})`.execute(trx)
    await sql.raw(grants).execute(trx)
  })
}
