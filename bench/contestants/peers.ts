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
  /** SQL that creates its tables. */
  tables: string
  /** SQL that inserts its clients: $1 are their ids, $2 is their secret. */
  clients: string
}

const TABLES = `
  create table clients (id text primary key, secret_sha256 bytea not null, grants text[] not null);
  create table tokens (
    access_token text primary key, client_id text not null references clients, expires_at timestamptz not null
  )`
const CLIENTS = `
  insert into clients select id, sha256($2::bytea), '{client_credentials}' from unnest($1::text[]) as id`

const PEERS: readonly Peer[] = [
  {
    library: 'oidc-provider',
    variant: 'Koa, JWT',
    file: 'oidc.mjs',
    database: 'peer_oidc',
    tables: `
      create table oidc_payloads (
        model text not null, id text not null, payload jsonb not null, grant_id text, user_code text, uid text,
        expires_at timestamptz, consumed_at timestamptz, primary key (model, id)
      )`,
    clients: `
      insert into oidc_payloads (model, id, payload)
      select 'Client', id, jsonb_build_object('client_id', id, 'client_secret', $2::text) from unnest($1::text[]) as id`
  },
  {
    library: '@node-oauth/oauth2-server',
    variant: 'Express, JWT',
    file: 'node-oauth.mjs',
    database: 'peer_node_oauth',
    tables: TABLES,
    clients: CLIENTS
  },
  {
    library: '@node-oauth/oauth2-server',
    variant: 'Express, JWT, stored',
    file: 'node-oauth.mjs',
    database: 'peer_node_oauth_stored',
    environment: { STORE: '1' },
    tables: TABLES,
    clients: CLIENTS
  },
  {
    library: '@jmondi/oauth2-server',
    variant: 'Fastify, JWT, stored',
    file: 'jmondi.mjs',
    database: 'peer_jmondi',
    tables: TABLES,
    clients: CLIENTS
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
  const { library, variant, file, database, environment } = peer
  const databaseUrl = await postgres.createDatabase(database)
  await query(databaseUrl, peer.tables)
  const ids = randomIds(clients)
  await query(databaseUrl, peer.clients, [ids, SHARED_SECRET])
  await query(databaseUrl, 'vacuum analyze')
  const requests = ids.map(id => tokenRequest('/token', id, SHARED_SECRET))
  const command = {
    args: [`bench/peers/${file}`],
    environment: { NODE_ENV: 'production', DATABASE_URL: databaseUrl, ...environment }
  }
  const server = await startAnswering(command, requests)
  return { name: `${library} ${versionOf(library)} (${variant})`, command, server, requests, databaseUrl }
}

function versionOf(library: string): string {
  return JSON.parse(readFileSync(path.join(FOLDER, 'node_modules', library, 'package.json'), 'utf8')).version
}
