import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { tokenRequest } from '../generator/connection.ts'
import { type Contestant, randomIds, SHARED_SECRET, startAnswering } from './contestant.ts'
import { type BenchPostgres, query } from './postgres.ts'
import { ROOT } from './processes.ts'

const FOLDER = path.join(ROOT, 'bench/peers')

/** A library from npm, served by one of the files in bench/peers. */
interface Peer {
  /** Name of its package. */
  library: string
  variant: string
  file: string
  database: string
  environment?: Record<string, string>
  /** How its tables and clients are created. */
  seed: SqlSeed | FileSeed
  /** Path of its token endpoint; `/token` by default. */
  path?: string
  /** More of each request's form, encoded. */
  extra?: string
}

interface SqlSeed {
  tables: string
  /** $1 are the ids of the clients, $2 is their secret. */
  clients: string
}

/** One of the files in bench/peers, for a library that creates its tables itself. */
interface FileSeed {
  file: string
}

const HASHED_CLIENTS: SqlSeed = {
  tables: `
  create table clients (id text primary key, secret_sha256 bytea not null, grants text[] not null);
  create table tokens (
    access_token text primary key, client_id text not null references clients, expires_at timestamptz not null
  )`,
  clients: `
  insert into clients select id, sha256($2::bytea), '{client_credentials}' from unnest($1::text[]) as id`
}

const PEERS: readonly Peer[] = [
  {
    library: 'oidc-provider',
    variant: 'Koa, JWT',
    file: 'oidc.mjs',
    database: 'peer_oidc',
    seed: {
      tables: `
        create table oidc_payloads (
          model text not null, id text not null, payload jsonb not null, grant_id text, user_code text, uid text,
          expires_at timestamptz, consumed_at timestamptz, primary key (model, id)
        )`,
      clients: `
        insert into oidc_payloads (model, id, payload)
        select 'Client', id, jsonb_build_object('client_id', id, 'client_secret', $2::text)
        from unnest($1::text[]) as id`
    }
  },
  {
    library: '@node-oauth/oauth2-server',
    variant: 'Express, JWT',
    file: 'node-oauth.mjs',
    database: 'peer_node_oauth',
    seed: HASHED_CLIENTS
  },
  {
    library: '@node-oauth/oauth2-server',
    variant: 'Express, JWT, stored',
    file: 'node-oauth.mjs',
    database: 'peer_node_oauth_stored',
    environment: { STORE: '1' },
    seed: HASHED_CLIENTS
  },
  {
    library: '@jmondi/oauth2-server',
    variant: 'Fastify, JWT, stored',
    file: 'jmondi.mjs',
    database: 'peer_jmondi',
    seed: HASHED_CLIENTS
  },
  {
    library: 'better-auth',
    variant: 'node:http, JWT',
    file: 'better-auth.mjs',
    database: 'peer_better_auth',
    seed: { file: 'better-auth-seed.mjs' },
    path: '/auth/oauth2/token',
    extra: '&resource=https%3A%2F%2Fbench.example'
  }
]

/** Installs the peers as their lockfile says, unless they are installed already. */
export function installPeers(): void {
  const lockfile = readFileSync(path.join(FOLDER, 'package-lock.json'), 'utf8')
  const marker = path.join(FOLDER, 'node_modules/.installed-lock')
  if (existsSync(marker) && readFileSync(marker, 'utf8') === lockfile) return
  const { status, stderr } = spawnSync('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd: FOLDER,
    encoding: 'utf8'
  })
  if (status !== 0) throw new Error(`npm ci in ${FOLDER} failed:\n${stderr}`)
  writeFileSync(marker, lockfile)
}

/** Starts the peers, each on a database of its own. */
export async function* startPeers(postgres: BenchPostgres, clients: number): AsyncGenerator<Contestant> {
  for (const peer of PEERS) yield await startPeer(peer, postgres, clients)
}

async function startPeer(peer: Peer, postgres: BenchPostgres, clients: number): Promise<Contestant> {
  const { library, variant, file, database, environment, path: tokenPath = '/token', extra } = peer
  const databaseUrl = await postgres.createDatabase(database)
  const ids = randomIds(clients)
  await seed(peer, databaseUrl, ids)
  await query(databaseUrl, 'vacuum analyze')
  const requests = ids.map(id => tokenRequest(tokenPath, id, SHARED_SECRET, extra))
  const command = {
    args: [`bench/peers/${file}`],
    environment: { NODE_ENV: 'production', DATABASE_URL: databaseUrl, ...environment }
  }
  const server = await startAnswering(command, requests)
  return { name: `${library} ${versionOf(library)} (${variant})`, command, server, requests, databaseUrl }
}

async function seed({ library, seed }: Peer, databaseUrl: string, ids: readonly string[]): Promise<void> {
  if ('tables' in seed) {
    await query(databaseUrl, seed.tables)
    await query(databaseUrl, seed.clients, [ids, SHARED_SECRET])
    return
  }
  const { status, stderr } = spawnSync(process.execPath, [path.join(FOLDER, seed.file)], {
    encoding: 'utf8',
    // The peers make their issuer from a port.
    env: { PORT: '1', DATABASE_URL: databaseUrl, CLIENT_IDS: ids.join(), CLIENT_SECRET: SHARED_SECRET }
  })
  if (status !== 0) throw new Error(`${library} cannot be seeded:\n${stderr}`)
}

function versionOf(library: string): string {
  return JSON.parse(readFileSync(path.join(FOLDER, 'node_modules', library, 'package.json'), 'utf8')).version
}
