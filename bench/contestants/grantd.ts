import { readFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { tokenRequest } from '../generator/connection.ts'
import { addCopies } from './client-copies.ts'
import { type Contestant, startAnswering } from './contestant.ts'
import type { BenchPostgres } from './postgres.ts'
import { ROOT, startServer } from './processes.ts'

export interface GrantdOptions {
  clients: number
  /** Name of its database. */
  database?: string
  environment?: Record<string, string>
  /** More options of Node. */
  nodeOptions?: readonly string[]
  /** Checkout to run; this one by default. */
  root?: string
}

export interface Grantd extends Contestant {
  databaseUrl: string
  clients: readonly Client[]
}

export interface Client {
  clientId: string
  clientSecret: string
}

/**
 * Starts grantd as its `npm start` does, on a database of its own. It serves as a login in the serving role, so that
 * row-level security applies. The first clients are registered through its API, and the others are copies of them.
 */
export async function startGrantd(name: string, postgres: BenchPostgres, options: GrantdOptions): Promise<Grantd> {
  const { clients: count, database = 'bench', environment = {}, nodeOptions = [], root = ROOT } = options
  const databaseUrl = await postgres.createDatabase(database)
  // The migrations find the role and grant it their rights.
  await postgres.run(`create role ${database}_serving nologin; grant ${database}_serving to grantd`)
  const log = path.join(postgres.folder, `${database}.log`)
  const command = {
    root,
    log,
    args: [...nodeOptions, ...startArguments(root)],
    environment: {
      DATA_DIR: path.join(postgres.folder, database),
      DATABASE_URL: postgres.servingUrlOf(database),
      MIGRATION_DATABASE_URL: databaseUrl,
      METRICS_PORT: '0',
      MAX_REGISTRATIONS_PER_SITE: '1000000',
      ...environment
    }
  }
  const server = await startServer(command)
  const [port = 0] = server.ports
  const clients = await registerAll(port, await adminTokenIn(log), Math.min(count, MAX_REGISTERED))
  const [original] = clients
  if (original !== undefined && count > clients.length) {
    const { DATA_DIR: dataFolder } = command.environment
    clients.push(...(await addCopies(databaseUrl, dataFolder, original, count - clients.length, SITES)))
  }
  const requests = requestsOf(clients)
  // The process that is measured finds a compile cache, as in the container image, and has hashed no secret.
  await server.stop()
  return { name, command, server: await startAnswering(command, requests), requests, databaseUrl, clients }
}

export function requestsOf(clients: readonly Client[]): Buffer[] {
  return clients.map(({ clientId, clientSecret }) => tokenRequest('/oauth/token', clientId, clientSecret))
}

/** Returns what the `start` script of a checkout passes to Node. */
function startArguments(root: string): string[] {
  const { scripts }: { scripts: { start: string } } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'))
  const [, nodeArguments] = / node (.+)$/.exec(scripts.start) ?? []
  if (nodeArguments === undefined) throw new Error(`the start script of ${root} does not run node`)
  return nodeArguments.split(' ')
}

/** Each registration costs grantd about 10 ms of a core (Argon2id). */
const REGISTERED_AT_ONCE = 4
const MAX_REGISTERED = 1_000
const SITES = 10

async function registerAll(port: number, adminToken: string, count: number): Promise<Client[]> {
  const clients: Client[] = []
  let started = 0
  const registerInTurn = async (): Promise<void> => {
    while (started < count) clients.push(await register(port, adminToken, `bench-${started++ % SITES}`))
  }
  await Promise.all(Array.from({ length: REGISTERED_AT_ONCE }, registerInTurn))
  return clients
}

/** Registers a client for a year. @param members more members, such as its public key */
export async function register(port: number, adminToken: string, site: string, members: object = {}): Promise<Client> {
  const answer = await fetch(`http://127.0.0.1:${port}/v1/sites/${site}/app-registrations`, {
    method: 'POST',
    headers: { authorization: adminToken, 'content-type': 'application/json' },
    body: JSON.stringify({
      name: 'bench',
      expiresAt: new Date(Date.now() + 365 * 86_400_000).toISOString(),
      ...members
    })
  })
  if (answer.status !== 201) throw new Error(`cannot register a client: ${answer.status} ${await answer.text()}`)
  return JSON.parse(await answer.text())
}

const START_TIMEOUT_MS = 60_000

/** Returns the Authorization header that grantd prints at start in development mode, once it is there. */
export async function adminTokenIn(log: string): Promise<string> {
  for (const deadline = Date.now() + START_TIMEOUT_MS; Date.now() < deadline; await sleep(20)) {
    const [, adminToken] = /Authorization: (Bearer eyJ[\w.-]+)['"]/.exec(readFileSync(log, 'utf8')) ?? []
    if (adminToken !== undefined) return adminToken
  }
  throw new Error(`grantd does not start:\n${readFileSync(log, 'utf8')}`)
}
