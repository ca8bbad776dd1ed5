import { randomBytes } from 'node:crypto'
import { tokenRequest } from '../generator/connection.ts'
import { type BenchPostgres, query } from './postgres.ts'
import { type Command, type ServerProcess, startServer, untilAnswered } from './processes.ts'

/** A server under load. */
export interface Contestant {
  name: string
  /** Starts another instance on the same database. */
  command: Command
  server: ServerProcess
  /** Whole HTTP token requests, one for each client. */
  requests: Buffer[]
  /** Connection string of the owner of its database; undefined when it has none. */
  databaseUrl: string | undefined
  /** It is started before each stretch of load and stopped after it, so that its caches and its code are cold. */
  isRestarted?: boolean
}

/** Starts Fastify with a form and at most one signature; see servers/ceiling.ts. */
export async function startCeiling(name: string, kind: 'sign' | 'static', clients: number): Promise<Contestant> {
  const command = { args: ['bench/servers/ceiling.ts'], environment: { KIND: kind, NODE_ENV: 'production' } }
  const requests = randomIds(clients).map(id => tokenRequest('/oauth/token', id, SHARED_SECRET))
  return { name, command, server: await startAnswering(command, requests), requests, databaseUrl: undefined }
}

/** A use rewrites a row: half of each page is free, so that the new version stays on its page and no index changes. */
const SAME_GUARANTEE_TABLE = `
  create table clients (
    client_id text primary key, secret_sha256 bytea not null, enabled boolean not null,
    expires_at timestamptz not null, last_used_at timestamptz
  ) with (fillfactor = 50)`

/** Starts the minimal server that gives grantd's guarantee; see servers/same-guarantee.ts. */
export async function startSameGuarantee(postgres: BenchPostgres, clients: number): Promise<Contestant> {
  const databaseUrl = await postgres.createDatabase('same_guarantee')
  const ids = randomIds(clients)
  await query(databaseUrl, SAME_GUARANTEE_TABLE)
  await query(
    databaseUrl,
    `insert into clients select id, sha256($2::bytea), true, now() + interval '1 year' from unnest($1::text[]) as id`,
    [ids, SHARED_SECRET]
  )
  await query(databaseUrl, 'vacuum analyze')
  const command = {
    args: ['bench/servers/same-guarantee.ts'],
    environment: { NODE_ENV: 'production', DATABASE_URL: databaseUrl }
  }
  const requests = ids.map(id => tokenRequest('/oauth/token', id, SHARED_SECRET))
  return {
    name: 'the same guarantee, nothing else',
    command,
    server: await startAnswering(command, requests),
    requests,
    databaseUrl
  }
}

/** Of all clients of a contestant that is not grantd; as long as a secret of grantd. */
export const SHARED_SECRET = `grantd_${'x'.repeat(49)}`

/** Starts a server that has its clients already. Resolves once it issues a token. */
export async function startAnswering(command: Command, requests: readonly Buffer[]): Promise<ServerProcess> {
  const server = await startServer(command)
  await untilAnswered(server, firstOf(requests))
  return server
}

/**
 * Stops the contestant and starts it again, with the same clients.
 *
 * @param probe request that shows that it issues tokens; the first of its own by default
 */
export async function restart(contestant: Contestant, probe = firstOf(contestant.requests)): Promise<void> {
  await contestant.server.stop()
  contestant.server = await startAnswering(contestant.command, [probe])
}

export function firstOf(requests: readonly Buffer[]): Buffer {
  const [first] = requests
  if (first === undefined) throw new Error('a contestant needs at least one client')
  return first
}

export function randomIds(count: number): string[] {
  return Array.from({ length: count }, () => randomBytes(10).toString('hex'))
}
