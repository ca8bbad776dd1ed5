import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, statSync, writeFileSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { createServer } from 'node:net'
import path from 'node:path'
import t from 'tap'
import { freePort } from '../fixtures/app/app.ts'
import { createDatabase, createEmptyDatabase, query } from '../fixtures/app/database.ts'
import { type Json, send } from '../fixtures/app/grantd.ts'
import { proxyPostgres } from '../fixtures/faults/tcp-proxy.ts'
import { ROOT } from '../fixtures/run/paths.ts'
import { spawnServer, temporaryFolder, untilPrinted, untilReady } from '../fixtures/run/process.ts'
import { until } from '../fixtures/run/until.ts'

/** Runs a command in this folder. @returns its output, parsed as JSON */
function run(line: string | undefined, folder: string): Json {
  return JSON.parse(execFileSync('sh', ['-c', line ?? ''], { encoding: 'utf8', cwd: folder }))
}

t.test(
  'npm start in an empty folder prints an admin token and three curl commands that work, and data survives restarts',
  async t => {
    const DATA_DIR = temporaryFolder(t)
    const first = await spawnServer(t, { DATA_DIR })
    await untilPrinted(first, 'API reference')
    t.match(first.output(), /DEVELOPMENT MODE/)
    const lines = first
      .output()
      .split('\n')
      .filter(line => line.startsWith('curl '))
    t.equal(lines.length, 3)
    const [created, token, read] = lines.map(line => run(line, DATA_DIR))
    t.match(created.clientSecret, /^grantd_/)
    t.match(token, { token_type: 'Bearer', scope: 'devices:read' })
    t.match(read, { clientId: created.clientId, lastUsedAt: /^\d{4}-/ })
    for (const file of ['key-encryption-key', 'development-admin-key.json']) {
      t.equal(statSync(path.join(DATA_DIR, file)).mode & 0o777, 0o600, file)
    }
    first.child.kill('SIGTERM')
    t.equal(await first.exited, 0)

    const second = await spawnServer(t, { DATA_DIR, PORT: new URL(first.baseUrl).port })
    await untilReady(second)
    const again = run(lines[2], DATA_DIR)
    t.same(again, read, 'the admin token of the first start is still valid')
    t.match(run(lines[1], DATA_DIR), { token_type: 'Bearer' })
    second.child.kill('SIGTERM')
    t.equal(await second.exited, 0)
  }
)

t.test('npm run admin-token prints a token for the given Sites', async t => {
  const DATA_DIR = temporaryFolder(t)
  const server = await spawnServer(t, { DATA_DIR })
  await untilReady(server)
  const { PATH = '' } = process.env
  const token = execFileSync(process.execPath, ['src/commands/admin-token.ts', '--site', 'acme'], {
    env: { PATH, DATA_DIR },
    encoding: 'utf8'
  }).trim()
  const status = async (site: string) => {
    const url = `${server.baseUrl}/v1/sites/${site}/app-registrations`
    return (await send('GET', url, { headers: { authorization: `Bearer ${token}` } })).status
  }
  t.equal(await status('acme'), 200)
  t.equal(await status('umbrella'), 404)
})

t.test(
  'instances that start at once on an empty database apply each migration once and create one signing key',
  async t => {
    const DATABASE_URL = await createEmptyDatabase(t)
    const DATA_DIR = temporaryFolder(t)
    const servers = await Promise.all(Array.from({ length: 4 }, () => spawnServer(t, { DATABASE_URL, DATA_DIR })))
    await Promise.all(servers.map(untilReady))
    const migrations = readdirSync('migrations').filter(file => /^\d/.test(file))
    t.same(await query(DATABASE_URL, 'select count(*)::int from grantd_migrations'), [{ count: migrations.length }])
    t.same(await query(DATABASE_URL, 'select count(*)::int from signing_keys'), [{ count: 1 }])
    const keySets = await Promise.all(servers.map(({ baseUrl }) => send('GET', `${baseUrl}/.well-known/jwks.json`)))
    t.equal(new Set(keySets.map(({ text }) => text)).size, 1)
    for (const { child } of servers) child.kill('SIGTERM')
    t.same(new Set(await Promise.all(servers.map(({ exited }) => exited))), new Set([0]))
  }
)

// [FAULT-2]
t.test(
  'on SIGTERM under load, requests in flight finish, none fails, and the process exits with 0 within 10 s',
  async t => {
    const server = await spawnServer(t, { DATABASE_URL: await createDatabase(t), DATA_DIR: temporaryFolder(t) })
    await untilPrinted(server, 'API reference')
    const lines = server
      .output()
      .split('\n')
      .filter(line => line.startsWith('curl '))
    const { clientId, clientSecret } = run(lines[0], temporaryFolder(t))
    const agent = new Agent({ keepAlive: true, maxSockets: 20 })
    const body = `grant_type=client_credentials&client_id=${clientId}&client_secret=${clientSecret}`
    const exchange = (): Promise<number | string> => {
      const { promise, resolve } = Promise.withResolvers<number | string>()
      const headers = { 'content-type': 'application/x-www-form-urlencoded' }
      const sent = request(`${server.baseUrl}/oauth/token`, { method: 'POST', agent, headers })
      sent.on('error', error =>
        resolve(`${'code' in error ? error.code : error.message}, reused: ${sent.reusedSocket}`)
      )
      sent.on('response', response => response.resume().on('end', () => resolve(response.statusCode ?? 0)))
      sent.end(body)
      return promise
    }
    await exchange()
    const outcomes = Promise.all(Array.from({ length: 200 }, exchange))
    const started = Date.now()
    server.child.kill('SIGTERM')
    t.equal(await server.exited, 0)
    t.ok(Date.now() - started < 10_000)
    t.same(new Set(await outcomes), new Set([200]))
    agent.destroy()
  }
)

t.test('all faults of a configuration are reported at once, by variable name', async t => {
  const server = await spawnServer(t, {
    PORT: '99999',
    LOG_LEVEL: 'loud',
    KEY_ENCRYPTION_KEY: 'secret',
    DATABASE_URL: 'mysql://x'
  })
  t.equal(await server.exited, 1)
  for (const name of ['PORT', 'LOG_LEVEL', 'KEY_ENCRYPTION_KEY', 'DATABASE_URL']) t.match(server.output(), name)
  t.notMatch(server.output(), /mysql|loud|99999| {4}at /)
})

t.test('production refuses everything that is meant for development', async t => {
  const server = await spawnServer(t, { NODE_ENV: 'production' })
  t.equal(await server.exited, 1)
  for (const name of ['DATABASE_URL', 'KEY_ENCRYPTION_KEY', 'ADMIN_ISSUER']) t.match(server.output(), name)
})

t.test('two instances share the embedded database, which outlives the instance that started it', async t => {
  const DATA_DIR = temporaryFolder(t)
  const first = await spawnServer(t, { DATA_DIR })
  await untilReady(first)
  const second = await spawnServer(t, { DATA_DIR })
  await untilReady(second)
  first.child.kill('SIGKILL')
  t.equal(await first.exited, 'SIGKILL')
  const ready = await send('GET', `${second.baseUrl}/health/ready`)
  t.equal(ready.status, 200)
  second.child.kill('SIGTERM')
  t.equal(await second.exited, 0)
})

t.test('SIGTERM to npm start shuts the server down', async t => {
  const DATA_DIR = temporaryFolder(t)
  const { PATH = '', HOME = '' } = process.env
  const PORT = String(await freePort())
  // Without its first step, which installs: the tests run on what is installed.
  const npm = spawn('npm', ['start', '--ignore-scripts'], {
    cwd: ROOT,
    env: { PATH, HOME, DATA_DIR, PORT },
    stdio: 'ignore'
  })
  t.teardown(() => npm.kill('SIGKILL'))
  const exited = once(npm, 'close')
  const live = async () => (await send('GET', `http://127.0.0.1:${PORT}/health/ready`).catch(() => undefined))?.status
  await until('it is ready', async () => (await live()) === 200, 60_000)
  npm.kill('SIGTERM')
  await exited
  await until('the server is gone', async () => (await live()) === undefined)
})

t.test('grantd waits at start for a database that is not available yet', async t => {
  const { proxy, url } = await proxyPostgres(t, await createDatabase(t))
  await proxy.refuse()
  const server = await spawnServer(t, { DATABASE_URL: url, DATA_DIR: temporaryFolder(t) })
  await untilPrinted(server, 'the database is not available yet')
  await proxy.accept()
  await untilReady(server)
})

t.test('a fault that only shows at start is reported with its variable', async t => {
  const folder = temporaryFolder(t)
  const file = path.join(folder, 'file')
  writeFileSync(file, '')
  const taken = createServer().listen(0, '127.0.0.1')
  t.teardown(() => taken.close())
  await once(taken, 'listening')
  const { port } = Object(taken.address())
  const faults = {
    DATA_DIR: { DATA_DIR: file },
    DATABASE_URL: { DATA_DIR: folder, DATABASE_URL: 'postgresql://grantd:hidden@127.0.0.1:1/grantd' },
    PORT: { DATA_DIR: temporaryFolder(t), PORT: String(port), DATABASE_URL: await createDatabase(t) }
  }
  // At once, because one of them waits for its database for ten seconds.
  const starts = Object.entries(faults).map(async ([blamed, environment]) => {
    const server = await spawnServer(t, environment)
    t.equal(await server.exited, 1, blamed)
    t.match(server.output(), new RegExp(`does not start: .*${blamed}`))
    t.notMatch(server.output(), /hidden| {4}at /)
  })
  await Promise.all(starts)
})

t.test(
  'variables of the Postgres driver in the shell change nothing, with the embedded Postgres and with a URL',
  async t => {
    const driver = { PGSSLMODE: 'require', PGOPTIONS: '-c search_path=x', PGDATABASE: 'nowhere', PGDATA: '/nowhere' }
    for (const environment of [{}, { DATABASE_URL: await createDatabase(t) }]) {
      const server = await spawnServer(t, { DATA_DIR: temporaryFolder(t), ...driver, ...environment })
      await untilReady(server)
      server.child.kill('SIGTERM')
      t.equal(await server.exited, 0)
    }
  }
)
