import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import t, { type Test } from 'tap'
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/development/embedded-postgres.ts'
import { openConnection } from '../../src/runtime/connection.ts'
import { query } from '../fixtures/app/database.ts'
import { ROOT } from '../fixtures/run/paths.ts'
import { until } from '../fixtures/run/until.ts'

/** Where the sockets of folders with long paths are. */
const socketFolders = new Map<string, string[]>()

/** A folder whose server is gone before the folder is. */
function serverFolder(t: Test, ...below: string[]): string {
  const root = mkdtempSync(path.join(os.tmpdir(), 'grantd-embedded-'))
  const folder = path.join(root, ...below)
  t.teardown(async () => {
    await untilStopped(folder)
    for (const place of [root, ...(socketFolders.get(folder) ?? [])]) {
      rmSync(place, { recursive: true, force: true, maxRetries: 20 })
    }
  })
  return folder
}

/** A cluster that was started and stopped once: a copy saves each test its initdb. */
const prepared = mkdtempSync(path.join(os.tmpdir(), 'grantd-embedded-'))
const preparing = await startEmbeddedPostgres(prepared)
preparing.release()
await untilStopped(prepared)
t.teardown(() => rmSync(prepared, { recursive: true, force: true }))

/** As `serverFolder`, with a cluster in it. */
function preparedFolder(t: Test, ...below: string[]): string {
  const folder = serverFolder(t, ...below)
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const { status, stderr } = spawnSync('cp', ['-a', path.join(prepared, 'cluster'), folder], { encoding: 'utf8' })
  if (status !== 0) throw new Error(stderr)
  return folder
}

/** Released with the test at the latest. */
async function start(t: Test, folder: string): Promise<EmbeddedPostgres> {
  const postgres = await startEmbeddedPostgres(folder)
  const socketFolder = new URL(postgres.ownerUrl).searchParams.get('host') ?? folder
  if (socketFolder !== folder) socketFolders.set(folder, [socketFolder])
  let isHeld = true
  const release = () => {
    if (isHeld) postgres.release()
    isHeld = false
  }
  t.teardown(release)
  return { ...postgres, release }
}

/** A process of its own that holds the server of this folder. */
async function spawnHolder(
  t: Test,
  folder: string
): Promise<{ ownerUrl: string; kill: () => Promise<void>; interrupt: () => Promise<void> }> {
  const holder = spawn(process.execPath, [path.join(ROOT, 'test/development/embedded-holder.ts'), folder], {
    stdio: 'pipe',
    // A process group of its own, as a terminal gives it.
    detached: true
  })
  let errors = ''
  holder.stderr.on('data', chunk => (errors += chunk))
  const exited = once(holder, 'exit')
  const kill = async () => {
    holder.kill('SIGKILL')
    await exited
  }
  t.teardown(kill)
  // What Ctrl-C does: to the whole group.
  const interrupt = async () => {
    if (holder.pid === undefined) throw new Error('no holder')
    process.kill(-holder.pid, 'SIGINT')
    await exited
  }
  const lines = createInterface(holder.stdout)
  const [ownerUrl] = await Promise.race([
    once(lines, 'line'),
    exited.then(() => Promise.reject(new Error(`the holder ended: ${errors}`)))
  ])
  return { ownerUrl, kill, interrupt }
}

function postmasterOf(folder: string): number {
  return Number.parseInt(readFileSync(path.join(folder, 'cluster/postmaster.pid'), 'utf8'), 10)
}

function isRunning(pid: number): boolean {
  return (
    spawnSync('ps', ['-o', 'stat=', '-p', String(pid)], { encoding: 'utf8' })
      .stdout.trim()
      .replace(/^Z.*/, '') !== ''
  )
}

/** Postgres removes its pid file as the last thing it does. */
async function untilStopped(folder: string): Promise<void> {
  await until(`the server of ${folder} has stopped`, () => !existsSync(path.join(folder, 'cluster/postmaster.pid')))
}

async function noteIn(url: string, text: string): Promise<void> {
  await query(url, 'create table if not exists notes (text text)')
  await query(url, 'insert into notes values ($1)', [text])
}

async function notesIn(url: string): Promise<unknown[]> {
  return query(url, 'select text from notes order by text')
}

t.test('it starts in a new folder, which only its owner can use, and listens on no port', async t => {
  const folder = serverFolder(t, 'made', 'for', 'it')
  const { ownerUrl, servingUrl } = await start(t, folder)
  t.same(await query(ownerUrl, 'show listen_addresses'), [{ listen_addresses: '' }])
  t.equal(statSync(folder).mode & 0o777, 0o700)
  t.equal(statSync(path.join(folder, '.s.PGSQL.5432')).mode & 0o077, 0, 'nobody else may connect')

  t.comment('its files belong to whoever started it, root too, in whose name Postgres refuses to run')
  t.equal(statSync(path.join(folder, 'cluster')).uid, process.getuid?.())
  t.equal(statSync(path.join(folder, 'cluster/postmaster.pid')).uid, process.getuid?.())
  t.ok(isRunning(postmasterOf(folder)))

  t.comment('the serving login is no superuser and can make nothing')
  t.same(
    await query(
      servingUrl,
      `select rolname, rolsuper, rolcreaterole, rolcreatedb, pg_has_role('grantd_serving', 'member') as serves
       from pg_roles where rolname = current_user`
    ),
    [{ rolname: 'grantd', rolsuper: false, rolcreaterole: false, rolcreatedb: false, serves: true }]
  )
  await t.rejects(query(servingUrl, 'create table mine (id integer)'), { code: '42501' })
})

t.test('data survives a restart', async t => {
  const folder = preparedFolder(t)
  const first = await start(t, folder)
  await noteIn(first.ownerUrl, 'before')
  const pid = postmasterOf(folder)
  first.release()
  await until('the server has stopped', () => !isRunning(pid))
  const second = await start(t, folder)
  t.not(postmasterOf(folder), pid)
  t.same(await notesIn(second.ownerUrl), [{ text: 'before' }])
})

t.test('a start while the last server is still stopping waits for it and works', async t => {
  const folder = preparedFolder(t)
  for (const text of ['1', '2', '3']) {
    const postgres = await start(t, folder)
    await noteIn(postgres.ownerUrl, text)
    postgres.release()
  }
  const last = await start(t, folder)
  t.same(await notesIn(last.ownerUrl), [{ text: '1' }, { text: '2' }, { text: '3' }])
})

t.test('a second call joins the running server, which outlives the release of the first', async t => {
  const folder = preparedFolder(t)
  const first = await start(t, folder)
  const pid = postmasterOf(folder)
  await noteIn(first.ownerUrl, 'from the first')
  const second = await start(t, folder)
  t.equal(second.ownerUrl, first.ownerUrl)
  first.release()
  await noteIn(second.ownerUrl, 'from the second')
  t.same(await notesIn(second.ownerUrl), [{ text: 'from the first' }, { text: 'from the second' }])
  t.equal(postmasterOf(folder), pid)
  t.ok(isRunning(pid))
  second.release()
  await until('it stops with the last', () => !isRunning(pid))
})

t.test('kill -9 of the process that started the server leaves it running for the process that joined', async t => {
  const folder = preparedFolder(t)
  const first = await spawnHolder(t, folder)
  await noteIn(first.ownerUrl, 'from the first')
  const pid = postmasterOf(folder)
  const second = await spawnHolder(t, folder)
  await first.kill()
  const third = await start(t, folder)
  t.equal(postmasterOf(folder), pid)
  await second.kill()
  t.same(await notesIn(third.ownerUrl), [{ text: 'from the first' }])
  t.equal(postmasterOf(folder), pid)
})

t.test('Ctrl-C at the process that started the server leaves it running for the process that joined', async t => {
  const folder = preparedFolder(t)
  const first = await spawnHolder(t, folder)
  const pid = postmasterOf(folder)
  const second = await start(t, folder)
  await first.interrupt()
  await noteIn(second.ownerUrl, 'after')
  t.same(await notesIn(second.ownerUrl), [{ text: 'after' }])
  t.equal(postmasterOf(folder), pid)
})

t.test('kill -9 of its only process stops the server cleanly, and the next start has all data', async t => {
  const folder = preparedFolder(t)
  const holder = await spawnHolder(t, folder)
  await noteIn(holder.ownerUrl, 'kept')
  const pid = postmasterOf(folder)
  await holder.kill()
  await until('the server has stopped', () => !isRunning(pid))
  t.match(readFileSync(path.join(folder, 'postgres.log'), 'utf8'), /database system is shut down/)
  const { ownerUrl } = await start(t, folder)
  t.same(await notesIn(ownerUrl), [{ text: 'kept' }])
})

t.test('after kill -9 of the server, the next start recovers everything that was committed', async t => {
  const folder = preparedFolder(t)
  const first = await start(t, folder)
  await noteIn(first.ownerUrl, 'committed')
  const pid = postmasterOf(folder)
  process.kill(pid, 'SIGKILL')
  await until('the server is gone', () => !isRunning(pid))
  const second = await start(t, folder)
  t.same(await notesIn(second.ownerUrl), [{ text: 'committed' }])
  first.release()
  await noteIn(second.ownerUrl, 'still there')
})

t.test('processes that start at once in an empty folder all start, on one server', async t => {
  for (let round = 0; round < 2; round++) {
    const folder = serverFolder(t)
    const holders = await Promise.all([1, 2, 3].map(() => spawnHolder(t, folder)))
    const servers = await Promise.all(
      holders.map(({ ownerUrl }) => query(ownerUrl, 'select pg_postmaster_start_time()::text as startedAt'))
    )
    for (const server of servers) t.same(server, servers[0])
    await Promise.all(holders.map(({ kill }) => kill()))
  }
})

t.test('two instances that start at once in an empty folder share one database, which is migrated once', async t => {
  const folder = serverFolder(t)
  const database = { url: undefined, rereadUrl: () => undefined, migrationUrl: undefined, poolSize: 2, folder }
  const connections = await Promise.all([openConnection(database), openConnection(database)])
  const applied = await Promise.all(connections.map(connection => connection.migrate()))
  t.equal(applied.filter(migrated => migrated.applied.length > 0).length, 1)
  for (const { background, needsMigration } of connections) {
    t.equal(await needsMigration(), false)
    t.same(await background.selectFrom('registrations').select('client_id').execute(), [])
  }
  for (const { close } of connections) await close()
})

t.test('a folder whose path is longer than a socket address (107 bytes) works', async t => {
  const folder = preparedFolder(t, 'very'.repeat(20), 'løng'.repeat(20))
  t.ok(Buffer.byteLength(folder) > 107)
  const first = await start(t, folder)
  await noteIn(first.ownerUrl, 'kept')
  const holder = await spawnHolder(t, folder)
  t.same(await notesIn(holder.ownerUrl), [{ text: 'kept' }], 'a second process finds it')
  const other = await start(t, preparedFolder(t, 'very'.repeat(20), 'løng'.repeat(20)))
  await t.rejects(notesIn(other.ownerUrl), { code: '42P01' }, 'and another long path is another server')
})

t.test('files that a killed start left behind do not stop the next start', async t => {
  const folder = serverFolder(t)
  const dead: ChildProcess = spawn(process.execPath, ['--version'], { stdio: 'ignore' })
  await once(dead, 'exit')
  mkdirSync(path.join(folder, 'cluster.new', 'base'), { recursive: true })
  writeFileSync(path.join(folder, 'cluster.new', 'PG_VERSION'), 'half')
  writeFileSync(path.join(folder, 'starting'), String(dead.pid))
  const { ownerUrl } = await start(t, folder)
  t.same(await query(ownerUrl, 'select 1 as one'), [{ one: 1 }])
})

t.test('a server that cannot start is an error at once, with the end of its log, and leaves no process', async t => {
  const folder = preparedFolder(t)
  const startedAt = performance.now()
  await t.rejects(startEmbeddedPostgres(folder, ['no_such_setting=1']), {
    message: /embedded Postgres did not start[\s\S]*no_such_setting/
  })
  t.ok(performance.now() - startedAt < 15_000, 'without waiting for the start to time out')
  const { ownerUrl } = await start(t, folder)
  t.same(await query(ownerUrl, 'select 1 as one'), [{ one: 1 }], 'the next start works')
})
