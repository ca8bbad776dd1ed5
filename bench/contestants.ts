import { randomBytes } from 'node:crypto'
import { openSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { tokenRequest } from './connection.ts'
import { type BenchPostgres, query } from './postgres.ts'
import { type Command, type ServerProcess, startServer, untilAnswered } from './processes.ts'

/** A server under load. */
export interface Contestant {
  name: string
  /** Starts another one beside it, on the same database. */
  command: Command
  server: ServerProcess
  /** Whole HTTP token requests, one per client. */
  requests: Buffer[]
  /** Connection string of its database's owner; undefined without one. */
  databaseUrl: string | undefined
}

/** Fastify, a form, and at most one signature: see ceiling.ts. */
export async function startCeiling(name: string, kind: 'sign' | 'static', clients: number): Promise<Contestant> {
  const command = { args: ['bench/ceiling.ts'], environment: { KIND: kind, NODE_ENV: 'production' } }
  const requests = randomIds(clients).map(id => tokenRequest('/oauth/token', id, `grantd_${'x'.repeat(49)}`))
  return { name, command, server: await startAnswering(command, requests), requests, databaseUrl: undefined }
}

/** What package.json's `start` gives to Node. */
const AS_NPM_START = ['--max-semi-space-size=8']

export interface GrantdOptions {
  clients: number
  /** A database of its own, made now; otherwise the one that its embedded Postgres has for it. */
  database?: string
  environment?: Record<string, string>
  /** Options of Node. */
  nodeOptions?: readonly string[]
}

export interface Grantd extends Contestant {
  databaseUrl: string
  /** Of all its clients: they share one hash. */
  clientSecret: string
}

/** grantd as `npm start` runs it, at the embedded Postgres that is there. */
export async function startGrantd(name: string, postgres: BenchPostgres, options: GrantdOptions): Promise<Grantd> {
  const { clients, database = 'grantd', environment = {}, nodeOptions = [] } = options
  const databaseUrl = postgres.urlOf(database)
  const isOwn = database !== 'grantd'
  if (isOwn) await query(postgres.urlOf('postgres'), `create database ${database}`)
  const args = [...AS_NPM_START, ...nodeOptions, 'src/commands/start.ts']
  const ofFolder = { DATA_DIR: postgres.folder, METRICS_PORT: '0', ...environment }
  const external = { args, environment: { ...ofFolder, DATABASE_URL: databaseUrl } }
  const log = path.join(postgres.folder, `${database}.log`)
  const server = await startServer(isOwn ? external : { args, environment: ofFolder }, openSync(log, 'w'))
  const first = await register(server.port, await adminTokenIn(log))
  const ids = randomIds(clients)
  await copyRegistration(databaseUrl, first.clientId, ids)
  const requests = ids.map(id => tokenRequest('/oauth/token', id, first.clientSecret))
  return { name, command: external, server, requests, databaseUrl, clientSecret: first.clientSecret }
}

/** Makes a registration of a year. */
export async function register(port: number, adminToken: string): Promise<{ clientId: string; clientSecret: string }> {
  const answer = await fetch(`http://127.0.0.1:${port}/v1/sites/bench/app-registrations`, {
    method: 'POST',
    headers: { authorization: adminToken, 'content-type': 'application/json' },
    body: JSON.stringify({ name: 'bench', expiresAt: new Date(Date.now() + 365 * 86_400_000).toISOString() })
  })
  if (answer.status !== 201) throw new Error(`no registration: ${answer.status} ${await answer.text()}`)
  return JSON.parse(await answer.text())
}

/** The other registrations are copies of one, so that making them does not take a hash each. */
async function copyRegistration(databaseUrl: string, clientId: string, ids: readonly string[]): Promise<void> {
  const columns = await query<{ name: string }>(
    databaseUrl,
    `select column_name as name from information_schema.columns
     where table_schema = 'public' and table_name = 'registrations' and column_name <> 'client_id' and is_generated = 'NEVER'`
  )
  const others = columns.map(({ name }) => name).join(', ')
  await query(
    databaseUrl,
    `insert into registrations (client_id, ${others})
     select id, ${others} from registrations, unnest($2::text[]) as id where client_id = $1`,
    [clientId, ids]
  )
}

/** Starts a server whose clients are there already. @returns once it answers */
export async function startAnswering(command: Command, requests: readonly Buffer[]): Promise<ServerProcess> {
  const server = await startServer(command)
  await untilAnswered(server.port, requests[0] ?? Buffer.alloc(0))
  return server
}

export function randomIds(count: number): string[] {
  return Array.from({ length: count }, () => randomBytes(10).toString('hex'))
}

const START_TIMEOUT_MS = 60_000

/** @returns Authorization header of the administrator whose token a starting grantd prints to this file */
export async function adminTokenIn(log: string): Promise<string> {
  for (const deadline = Date.now() + START_TIMEOUT_MS; Date.now() < deadline; await sleep(20)) {
    const output = readFileSync(log, 'utf8')
    const [, adminToken] = /Authorization: (Bearer [^']+)'/.exec(output) ?? []
    if (adminToken !== undefined && output.includes('API reference')) return adminToken
  }
  throw new Error(`grantd does not start:\n${readFileSync(log, 'utf8')}`)
}
