import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { startEmbeddedPostgres } from '../../src/development/embedded-postgres.ts'
import { cpuOfFamily, isRunning } from './processes.ts'

/** One Postgres for all contestants: grantd's embedded one with its settings, which keep every commit. */
export interface BenchPostgres {
  /** For files of this run. */
  folder: string
  version: string
  /** Creates a database. Returns its owner's connection string. */
  createDatabase: (name: string) => Promise<string>
  /** Returns the connection string of grantd's serving login for a database. */
  servingUrlOf: (database: string) => string
  /** Runs a statement as superuser that belongs to no database, such as `checkpoint`. */
  run: (statement: string) => Promise<void>
  /** CPU of the whole server so far, microseconds. */
  cpu: () => number
  /** Bytes of write-ahead log so far. */
  walBytes: () => Promise<number>
  stop: () => Promise<void>
}

export async function startPostgres(): Promise<BenchPostgres> {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'grantd-bench-'))
  const embedded = await startEmbeddedPostgres(path.join(folder, 'postgres'))
  const postmaster = Number.parseInt(readFileSync(path.join(folder, 'postgres/cluster/postmaster.pid'), 'utf8'), 10)
  const ownerUrl = inDatabase(embedded.ownerUrl, 'postgres')
  const run = async (statement: string): Promise<void> => {
    await query(ownerUrl, statement)
  }
  const [{ server_version: version } = { server_version: '' }] = await query<{ server_version: string }>(
    ownerUrl,
    'show server_version'
  )
  return {
    folder,
    version,
    createDatabase: async name => {
      await run(`create database ${name}`)
      return inDatabase(embedded.ownerUrl, name)
    },
    servingUrlOf: database => inDatabase(embedded.servingUrl, database),
    run,
    cpu: () => cpuOfFamily(postmaster),
    walBytes: async () => {
      const [row] = await query<{ bytes: string }>(ownerUrl, `select pg_current_wal_lsn() - '0/0' as bytes`)
      return Number(row?.bytes)
    },
    stop: async () => {
      embedded.release()
      for (const deadline = Date.now() + STOP_TIMEOUT_MS; isRunning(postmaster) && Date.now() < deadline; )
        await sleep(50)
      rmSync(folder, { recursive: true, force: true, maxRetries: 20 })
    }
  }
}

/** Postgres writes its buffers to the disk before it ends. */
const STOP_TIMEOUT_MS = 20_000

function inDatabase(connectionString: string, database: string): string {
  const url = new URL(connectionString)
  url.pathname = `/${database}`
  return url.href
}

export async function query<Row extends pg.QueryResultRow>(
  url: string,
  text: string,
  values: unknown[] = []
): Promise<Row[]> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    return (await client.query<Row>(text, values)).rows
  } finally {
    await client.end()
  }
}

/** Size of a table with its indexes. */
export interface Table {
  name: string
  rows: number
  bytes: number
}

/** Returns all tables of grantd's or a peer's schema, counted. */
export async function tablesOf(url: string): Promise<Table[]> {
  const tables = await query<{ name: string; bytes: string }>(
    url,
    `select format('%I', tablename) as name, pg_total_relation_size(format('%I.%I', schemaname, tablename)) as bytes
     from pg_tables where schemaname = 'public' order by tablename`
  )
  const counted: Table[] = []
  for (const { name, bytes } of tables) {
    const [{ rows } = { rows: '0' }] = await query<{ rows: string }>(url, `select count(*) as rows from ${name}`)
    counted.push({ name, rows: Number(rows), bytes: Number(bytes) })
  }
  return counted
}

/** Returns the number of rows in all tables of a database. */
export async function countRows(url: string): Promise<number> {
  return (await tablesOf(url)).reduce((sum, { rows }) => sum + rows, 0)
}
