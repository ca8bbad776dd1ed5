import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { freePort } from '../fixtures/app/app.ts'
import { createDatabase, dumpTables } from '../fixtures/app/database.ts'
import { send } from '../fixtures/app/grantd.ts'
import { countStatuses, Traffic } from '../fixtures/faults/traffic.ts'
import { type Instance, startInstance } from '../fixtures/run/instance.ts'
import { ROOT } from '../fixtures/run/paths.ts'
import { temporaryFolder } from '../fixtures/run/process.ts'
import { until } from '../fixtures/run/until.ts'

const [OLD, NEW] = [randomBytes(32).toString('base64url'), randomBytes(32).toString('base64url')]

interface MeasuredInstance extends Instance {
  /** Counts the Argon2 verifications of the token endpoint. */
  argon2Runs: () => Promise<number>
}

async function start(
  t: Test,
  databaseUrl: string,
  DATA_DIR: string,
  current: string,
  previous?: string
): Promise<MeasuredInstance> {
  const METRICS_PORT = String(await freePort())
  const instance = await startInstance(t, databaseUrl, {
    ...{ DATA_DIR, METRICS_PORT, LOG_LEVEL: 'error', KEY_ENCRYPTION_KEY: current },
    ...(previous !== undefined && { KEY_ENCRYPTION_KEY_PREVIOUS: previous })
  })
  const argon2Runs = async () => {
    const { text } = await send('GET', `http://127.0.0.1:${METRICS_PORT}/metrics`)
    return Number(/^grantd_argon2_total\{gate="token"\} (\d+)$/m.exec(text)?.[1])
  }
  return { ...instance, argon2Runs }
}

// [SECRET-12]
t.test('while KEY_ENCRYPTION_KEY is replaced under load, no right secret is refused and none is hashed', async t => {
  const databaseUrl = await createDatabase(t)
  const folder = temporaryFolder(t)
  let instance = await start(t, databaseUrl, folder, OLD)
  const clients = []
  for (let index = 0; index < 20; index++) clients.push(await instance.grantd.register())
  // As docs/keys.md describes it: each step starts the next instance beside the one before.
  for (const [current, previous] of [
    [OLD, NEW],
    [NEW, OLD],
    [NEW, undefined]
  ] as const) {
    const next = await start(t, databaseUrl, folder, current, previous)
    const both = [instance.grantd.baseUrl, next.grantd.baseUrl]
    const traffic = new Traffic(both, clients, { connections: 8, perSecond: 200 })
    await until('both serve', () => traffic.count(200) > 100)
    clients.push(await next.grantd.register())
    await until('both serve the new one too', () => traffic.count(200) > 200)
    await traffic.stop()
    t.same(Object.keys(countStatuses(traffic.outcomes)), ['200'])
    for (const { argon2Runs } of [instance, next]) t.equal(await argon2Runs(), 0)
    await instance.grantd.close()
    instance = next
  }
})

t.test('after the loss of KEY_ENCRYPTION_KEY every right secret works, and is hashed once', async t => {
  const databaseUrl = await createDatabase(t)
  const folder = temporaryFolder(t)
  const before = await start(t, databaseUrl, folder, OLD)
  const clients = []
  for (let index = 0; index < 5; index++) clients.push(await before.grantd.register())
  await before.grantd.close()
  // As docs/backup.md describes it. The signing keys are lost too.
  await promisify(execFile)(process.execPath, ['src/commands/rotate-keys.ts', '--compromised'], {
    cwd: ROOT,
    env: { ...process.env, DATABASE_URL: databaseUrl, DATA_DIR: folder, KEY_ENCRYPTION_KEY: NEW }
  })
  const after = await start(t, databaseUrl, folder, NEW)
  for (const client of clients) t.equal((await after.grantd.exchange(client)).status, 200)
  t.equal(await after.argon2Runs(), clients.length)
  for (const client of clients) t.equal((await after.grantd.exchange(client)).status, 200)
  const other = await start(t, databaseUrl, folder, NEW)
  for (const client of clients) t.equal((await other.grantd.exchange(client)).status, 200)
  t.equal(await after.argon2Runs(), clients.length)
  t.equal(await other.argon2Runs(), 0)
})

t.test('a dump and every environment variable except KEY_ENCRYPTION_KEY verify no secret and open no key', async t => {
  const databaseUrl = await createDatabase(t)
  const { grantd } = await start(t, databaseUrl, temporaryFolder(t), OLD)
  const { clientSecret } = await grantd.register()
  const tables = await dumpTables(databaseUrl)
  const dump = JSON.stringify(tables)
  const random = clientSecret.slice('grantd_'.length)
  for (const form of [clientSecret, random, Buffer.from(clientSecret).toString('base64').slice(0, -4)]) {
    t.notMatch(dump, form)
  }
  // The keys of signatures and MACs are there, each as a JWE under a key that is not (alg dir, RFC 7516).
  for (const table of ['mac_keys', 'signing_keys']) {
    const [jwe = ''] = /eyJ[\w-]+\.\.[\w-]+\.[\w-]+\.[\w-]+/.exec(tables[table]?.join('') ?? '') ?? []
    const [header = ''] = jwe.split('.')
    t.match(JSON.parse(Buffer.from(header, 'base64url').toString()), { alg: 'dir', enc: 'A256GCM' }, table)
  }
})
