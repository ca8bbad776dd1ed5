import t from 'tap'
import { startApp } from '../fixtures/app/app.ts'
import { createDatabase } from '../fixtures/app/database.ts'
import { Grantd, type Json, send } from '../fixtures/app/grantd.ts'
import { COLLECTION, inDays } from '../fixtures/app/registration.ts'
import { AUDIENCE, makeKey, startIdentityProvider } from '../fixtures/peers/identity-provider.ts'
import { spawnServer, temporaryFolder, untilReady } from '../fixtures/run/process.ts'

/** Names are returned as they were stored. Programs that show them must escape them. */
const STORED = [
  "=cmd|' /C calc'!A0",
  '+1+1',
  '@SUM(A1)',
  '-2+3',
  '<img src=x onerror=alert(1)>',
  '</script><script>alert(1)</script>',
  '"quoted" \\back\\slashed\\',
  "'; drop table registrations; --",
  '$' + '{7*7} {{7*7}} %{7*7}',
  '%s %d %n %00 %0a',
  '../../etc/passwd',
  '\\n{"level":"fatal"}',
  '{"level":"fatal","msg":"forged"}',
  'null',
  'يونيكود',
  '𝕏 日本語 👍',
  'İıŞşß',
  'e\u0301'.normalize('NFC')
]

/** Characters that are invisible, or that change how a text reads. */
const REFUSED = [
  'a\0b',
  '\ud800',
  'a\udfffb',
  'abc\u202egpj.exe',
  '\u2066a\u2069',
  'a\u200bb',
  'a\ufeffb',
  'a\nb',
  'a\r\n{"level":"fatal"}',
  'a\u001b[31mb',
  'a\u0085b',
  'a\u2028b',
  'a\u00adb',
  'a\u{e0041}b',
  '\u3164'
]

// [INPUT-3]
t.test('a name is stored and returned as it was sent, also one that another program would interpret', async t => {
  const grantd = await startApp(t)
  for (const name of STORED) {
    const made = await grantd.register({ name })
    const read = await grantd.asAdmin('GET', made.path)
    t.equal(read.json().name, name)
    t.match(read.headers, { 'content-type': /^application\/json/, 'x-content-type-options': 'nosniff' })
  }
  const { items } = (await grantd.asAdmin('GET', `${COLLECTION}?limit=200`)).json()
  t.same(new Set(items.map(({ name }: Json) => name)), new Set(STORED))
})

// [INPUT-4]
t.test('a name that hides or turns text is refused, raw or escaped, at create and at change', async t => {
  const grantd = await startApp(t)
  const { path } = await grantd.register({ name: 'as it was' })
  for (const [index, name] of REFUSED.entries()) {
    for (const text of [JSON.stringify(name), `"${escaped(name)}"`]) {
      const create = await grantd.asAdmin('POST', COLLECTION, {
        body: `{"name":${text},"expiresAt":"${inDays(10)}"}`
      })
      t.equal(create.status, 400, `name ${index}`)
      t.equal((await grantd.asAdmin('PATCH', path, { body: `{"name":${text}}` })).status, 400, `name ${index}`)
    }
  }
  t.equal((await grantd.asAdmin('GET', '/v1/app-registrations')).json().items.length, 1)
  t.equal((await grantd.asAdmin('GET', path)).json().name, 'as it was')
})

/** Each code unit as an escape of JSON. */
function escaped(text: string): string {
  return Array.from({ length: text.length }, (_, at) => `\\u${text.charCodeAt(at).toString(16).padStart(4, '0')}`).join(
    ''
  )
}

// [INPUT-5]
t.test('search takes %, _ and \\ literally, and finds each stored name by itself', async t => {
  const grantd = await startApp(t)
  const names = ['100 % sure', 'a_b', 'axb', 'back\\slash', 'backslash', "it's", ...STORED]
  for (const name of names) await grantd.register({ name })
  const found = async (search: string): Promise<string[]> => {
    const answer = await grantd.asAdmin('GET', `${COLLECTION}?limit=200&search=${encodeURIComponent(search)}`)
    return answer.json().items.map(({ name }: Json) => name)
  }
  for (const text of ['%', '_', 'a_b', 'k\\s', "'", '%00']) {
    t.same(new Set(await found(text)), new Set(names.filter(name => name.includes(text))), text)
  }
  t.same(await found('%%'), [])
  for (const name of names) t.ok((await found(name)).includes(name))
})

// [INPUT-6]
t.test('no input breaks a line of the log or changes its level', async t => {
  const provider = await startIdentityProvider(t)
  const key = await makeKey('ES256', 'published')
  provider.publish([key])
  const databaseUrl = await createDatabase(t)
  const server = await spawnServer(t, {
    DATA_DIR: temporaryFolder(t),
    DATABASE_URL: databaseUrl,
    LOG_LEVEL: 'trace',
    ADMIN_ISSUER: provider.issuer,
    ADMIN_AUDIENCE: AUDIENCE
  })
  await untilReady(server)
  const forged = '\n{"level":"fatal","msg":"forged"}\r\n{"level":"fatal"}\u2028\u001b[2J'
  const subject = (sites: unknown) => provider.sign(key, { site_admin: sites, sub: `ada${forged}` })
  const grantd = new Grantd(server.baseUrl, databaseUrl, subject, async () => {})
  for (const name of STORED) await grantd.register({ name })
  const inUrl = encodeURIComponent(forged)
  for (const [method, path] of [
    ['GET', `/${inUrl}`],
    ['GET', `/v1/sites/${inUrl}/app-registrations`],
    ['GET', `${COLLECTION}/${inUrl}`],
    ['GET', `${COLLECTION}?search=${inUrl}`],
    ['POST', `/oauth/token?${inUrl}`]
  ] as const) {
    await grantd.asAdmin(method, path, { headers: { 'x-request-id': `x{"level":"fatal"}` } })
  }
  await grantd.requestToken({ client_id: forged, client_secret: forged, scope: forged })
  await send('GET', `${server.baseUrl}/`, { headers: { 'x-request-id': 'a', 'user-agent': '{"level":"fatal"}' } })
  server.child.kill('SIGTERM')
  t.equal(await server.exited, 0)
  const lines = server.output().trim().split('\n')
  t.ok(lines.length > STORED.length)
  for (const [index, line] of lines.entries()) {
    const { level, time } = JSON.parse(line)
    t.ok(['trace', 'debug', 'info', 'warn'].includes(level), `line ${index}`)
    t.type(time, 'string')
    t.notMatch(line, '\u001b')
  }
  t.equal(lines.filter(line => JSON.parse(line).msg === 'forged').length, 0)
})
