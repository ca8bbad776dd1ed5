import { execFile } from 'node:child_process'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import path from 'node:path'
import { promisify } from 'node:util'
import { decodeJwt } from 'jose'
import t from 'tap'
import { type Administrator, verifyAdminToken } from '../../src/admin-api/admin-token.ts'
import { type DevelopmentMode, openDevelopmentMode } from '../../src/development/admin-issuer.ts'
import { startApp } from '../fixtures/app/app.ts'
import { send } from '../fixtures/app/grantd.ts'
import { ROOT } from '../fixtures/run/paths.ts'
import { temporaryFolder } from '../fixtures/run/process.ts'

const KEY_FILE = 'development-admin-key.json'
/** A process of its own, in ROOT: prints a token for acme. */
const SIGN_FOR_ACME = `
  const { openDevelopmentMode } = await import('./src/development/admin-issuer.ts')
  const { signToken } = await openDevelopmentMode(process.env.DATA_DIR, 'site_admin')
  console.log(await signToken(['acme']))`

async function verify(
  { trusted }: DevelopmentMode,
  token: string,
  now = Date.now()
): Promise<Administrator | undefined> {
  const { administrator } = await verifyAdminToken(trusted, 'site_admin', token, now)
  return administrator
}

t.test('development mode signs tokens for the given Sites, valid for twelve hours', async t => {
  const development = await openDevelopmentMode(temporaryFolder(t), 'site_admin')
  const token = await development.signToken(['acme', 'globex'])
  t.same(await verify(development, token), {
    subject: 'developer',
    issuer: 'urn:grantd:development',
    sites: new Set(['acme', 'globex'])
  })
  t.match(await verify(development, await development.signToken(['*'])), { sites: 'all' })
  const { iat = 0, exp } = decodeJwt(token)
  t.equal(exp, iat + 12 * 3_600)
  t.equal(await verify(development, token, (iat + 12 * 3_600 + 61) * 1_000), undefined)
})

t.test('the Sites are in the configured claim', async t => {
  const development = await openDevelopmentMode(temporaryFolder(t), 'https://acme.example/sites')
  const token = await development.signToken(['acme'])
  t.match(decodeJwt(token), { 'https://acme.example/sites': ['acme'] })
  t.equal((await verify(development, token))?.sites, undefined)
})

t.test('only its owner can read the key: mode 0600 in a folder of 0700', async t => {
  const folder = path.join(temporaryFolder(t), 'data')
  await openDevelopmentMode(folder, 'site_admin')
  t.equal(statSync(path.join(folder, KEY_FILE)).mode & 0o777, 0o600)
  t.equal(statSync(folder).mode & 0o777, 0o700)
  t.same(readdirSync(folder), [KEY_FILE], 'and nothing is left beside it')
})

t.test('the key is created once, so a later start accepts tokens of an earlier one', async t => {
  const folder = temporaryFolder(t)
  const earlier = await openDevelopmentMode(folder, 'site_admin')
  const key = readFileSync(path.join(folder, KEY_FILE), 'utf8')
  const later = await openDevelopmentMode(folder, 'site_admin')
  t.equal(readFileSync(path.join(folder, KEY_FILE), 'utf8'), key)
  t.ok(await verify(later, await earlier.signToken(['acme'])))
  t.ok(await verify(earlier, await later.signToken(['acme'])))
})

t.test('concurrent openings of one folder share one key', async t => {
  for (let round = 0; round < 10; round++) {
    const folder = path.join(temporaryFolder(t), 'data')
    const opened = await Promise.all(Array.from({ length: 6 }, () => openDevelopmentMode(folder, 'site_admin')))
    for (const one of opened) {
      const token = await one.signToken(['acme'])
      for (const other of opened) t.ok(await verify(other, token))
    }
    t.same(readdirSync(folder), [KEY_FILE])
  }
})

t.test('processes that open one folder at once share one key', async t => {
  const folder = path.join(temporaryFolder(t), 'data')
  const tokens = await Promise.all(
    Array.from({ length: 4 }, async () => {
      const { stdout } = await promisify(execFile)(process.execPath, ['-e', SIGN_FOR_ACME], {
        cwd: ROOT,
        env: { DATA_DIR: folder }
      })
      return stdout.trim()
    })
  )
  const development = await openDevelopmentMode(folder, 'site_admin')
  for (const token of tokens) t.match(await verify(development, token), { sites: new Set(['acme']) })
  t.same(readdirSync(folder), [KEY_FILE])
})

t.test('npm run admin-token creates no key, because the running service would reject its tokens', async t => {
  const folder = temporaryFolder(t)
  const run = promisify(execFile)(process.execPath, ['src/commands/admin-token.ts'], {
    cwd: ROOT,
    env: { DATA_DIR: folder }
  })
  await t.rejects(run, { code: 1, stderr: /DATA_DIR/, stdout: '' })
  t.same(readdirSync(folder), [])
})

t.test('tokens of another data folder are refused', async t => {
  const mine = await openDevelopmentMode(temporaryFolder(t), 'site_admin')
  const other = await openDevelopmentMode(temporaryFolder(t), 'site_admin')
  t.equal(await verify(mine, await other.signToken(['*'])), undefined)
})

t.test('its tokens are accepted in development mode, and refused when an identity provider is configured', async t => {
  const development = await openDevelopmentMode(temporaryFolder(t), 'site_admin')
  const headers = { authorization: `Bearer ${await development.signToken(['acme'])}` }
  const read = async (baseUrl: string) => send('GET', `${baseUrl}/v1/sites/acme/app-registrations`, { headers })
  t.equal((await read((await startApp(t, { trusted: development.trusted })).baseUrl)).status, 200)
  t.equal((await read((await startApp(t)).baseUrl)).status, 401)
})

t.test('with ADMIN_ISSUER set, no development token is signed', async t => {
  const folder = temporaryFolder(t)
  const run = promisify(execFile)(process.execPath, ['src/commands/admin-token.ts'], {
    cwd: ROOT,
    env: { DATA_DIR: folder, ADMIN_ISSUER: 'https://identity.example.com', ADMIN_AUDIENCE: 'grantd' }
  })
  await t.rejects(run, { code: 1, stderr: /ADMIN_ISSUER/, stdout: '' })
  t.same(readdirSync(folder), [])
})
