import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { startEmbeddedPostgres } from '../src/development/embedded-postgres.ts'
import { cpuOfFamily, isRunning } from './processes.ts'

/** One Postgres for all contestants: grantd's embedded one, with its settings, which keep what is committed. */
export interface BenchPostgres {
  /** grantd's DATA_DIR: it joins the server there. */
  folder: string
  version: string
  /** Connection string of the owner of a database, by its name. */
  urlOf: (database: string) => string
  /** CPU of the whole server so far, microseconds. */
  cpu: () => number
  stop: () => Promise<void>
}

export async function startPostgres(): Promise<BenchPostgres> {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'grantd-bench-'))
  const embedded = await startEmbeddedPostgres(path.join(folder, 'postgres'))
  const postmaster = Number.parseInt(readFileSync(path.join(folder, 'postgres/cluster/postmaster.pid'), 'utf8'), 10)
  const urlOf = (database: string): string => {
    const url = new URL(embedded.ownerUrl)
    url.pathname = `/${database}`
    return url.href
  }
  const [{ server_version: version } = { server_version: '' }] = await query<{ server_version: string }>(
    urlOf('postgres'),
    'show server_version'
  )
  return {
    folder,
    version,
    urlOf,
    cpu: () => cpuOfFamily(postmaster),
    stop: async () => {
      embedded.release()
      for (const deadline = Date.now() + STOP_TIMEOUT_MS; isRunning(postmaster) && Date.now() < deadline; )
        await sleep(50)
      rmSync(folder, { recursive: true, force: true, maxRetries: 20 })
    }
  }
}

/** It writes what is in its buffers first. */
const STOP_TIMEOUT_MS = 20_000

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

/** Rows of all tables of a database. */
export async function countRows(url: string): Promise<number> {
  const tables = await query<{ name: string }>(
    url,
    `select format('%I.%I', schemaname, tablename) as name from pg_tables where schemaname = 'public'`
  )
  const [{ rows } = { rows: '0' }] = await query<{ rows: string }>(
    url,
    `select ${tables.map(({ name }) => `(select count(*) from ${name})`).join(' + ') || '0'} as rows`
  )
  return Number(rows)
}
