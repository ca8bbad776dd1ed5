import { generateKeyPairSync } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { decodeJwt } from 'jose'
import t, { type Test } from 'tap'
import { freePort, startApp } from '../fixtures/app/app.ts'
import { inDays } from '../fixtures/app/registration.ts'
import { leftOutFor } from '../fixtures/faults/debian.ts'
import { temporaryFolder } from '../fixtures/run/process.ts'
import { blockBelow, LANGUAGES, type LanguageName, startProgram, type Values } from './program.ts'
import { startTokenServer } from './token-server.ts'

/** The audience in the programs of the page. */
const RESOURCE = 'https://devices.example.com'
const names = Object.keys(LANGUAGES).filter((name): name is LanguageName => name in LANGUAGES)

/** Calls that a service may make at once. */
const AT_ONCE = 8
/** Of a token in a test that waits for its end. Programs renew it after half of that. */
const SHORT_LIFETIME_SECONDS = 16

function credentialFile(t: Test, text: string): string {
  const file = path.join(temporaryFolder(t), 'credential')
  writeFileSync(file, text)
  return file
}

for (const name of names) {
  const skip = leftOutFor(LANGUAGES[name].needs)

  t.test(
    `${name}: calls at once share one token for the resource, and a new secret in the file is used`,
    { skip },
    async t => {
      const grantd = await startApp(t)
      const client = await grantd.register({
        audiences: ['https://billing.example.com', RESOURCE],
        expiresAt: inDays(10)
      })
      const { clientId, path: registration } = client
      const file = credentialFile(t, `${client.clientSecret}\n`)
      const exchanges = async () => (await grantd.asAdmin('GET', registration)).json().exchangeCount
      const program = startProgram(t, name, { baseUrl: grantd.baseUrl, clientId, credentialFile: file })

      const tokens = await program.get(AT_ONCE)
      const [first = ''] = tokens
      t.same(
        tokens,
        Array.from({ length: AT_ONCE }, () => first)
      )
      t.match(decodeJwt(first), { aud: RESOURCE, client_id: clientId })
      t.same(await program.get(1), [first], 'from the cache')
      t.equal(await exchanges(), 1)
      t.match(program.log(), /The registration expires at \w{3}, \d\d \w{3} \d{4} [\d:]+ GMT/, 'Sunset is reported')

      const rotated = await grantd.asAdmin('POST', `${registration}/rotate-secret`, { body: { overlapSeconds: 0 } })
      const refused = await program.get(2, first)
      t.same(
        new Set(refused.map(result => result.slice(0, 'error: grantd refuses the client: 401'.length))),
        new Set(['error: grantd refuses the client: 401'])
      )
      writeFileSync(file, rotated.json().clientSecret)
      const renewed = await program.get(AT_ONCE, first)
      t.match(decodeJwt(renewed[0] ?? ''), { client_id: clientId })
      t.equal(new Set(renewed).size, 1)
      t.not(renewed[0], first)
      t.equal(await exchanges(), 2, 'a token that the API refuses is replaced once')
    }
  )

  t.test(
    `${name}: it waits after 503 and 429 as Retry-After says, and lives on its token meanwhile`,
    { skip },
    async t => {
      const server = await startTokenServer(t)
      const file = credentialFile(t, 'secret\n')
      const program = startProgram(t, name, { baseUrl: server.baseUrl, clientId: 'client', credentialFile: file })
      server.will(
        { status: 503, retryAfter: 1 },
        { status: 429, retryAfter: 2 },
        { status: 200, expiresIn: SHORT_LIFETIME_SECONDS }
      )
      t.same(new Set(await program.get(AT_ONCE)), new Set(['token-1']))
      t.equal(server.requests.length, 3, 'calls at once wait for one request')
      const [first, second, third] = server.requests.map(({ at }) => at)
      t.ok((second ?? 0) - (first ?? 0) >= 1_000, 'after 503')
      t.ok((third ?? 0) - (second ?? 0) >= 2_000, 'after 429')
      t.match(server.requests[0]?.form, {
        grant_type: 'client_credentials',
        client_id: 'client',
        client_secret: 'secret',
        resource: RESOURCE
      })

      const untilAge = async (lifetimes: number) =>
        sleep(Math.max(1, lifetimes * SHORT_LIFETIME_SECONDS * 1_000 - (performance.now() - (third ?? 0))))
      // Half of the lifetime of a short token has passed.
      await untilAge(0.6)
      server.will({ status: 503, retryAfter: 30 })
      t.same(await program.get(1), ['token-1'], 'the token is still valid')
      t.same(await program.get(1), ['token-1'])
      t.equal(server.requests.length, 4, 'it does not ask again before Retry-After')
      server.will({ status: 200 })
      await untilAge(1.05)
      t.same(await program.get(1), ['token-2'], 'an expired token is never used')
    }
  )

  t.test(`${name}: it does not repeat what is refused with 400 or 401, and says why`, { skip }, async t => {
    const server = await startTokenServer(t)
    const file = credentialFile(t, 'secret\n')
    const program = startProgram(t, name, { baseUrl: server.baseUrl, clientId: 'client', credentialFile: file })
    for (const status of [400, 401]) {
      server.will({ status })
      const [result] = await program.get(1)
      t.match(result, new RegExp(`^error: .*\\b${status}\\b.*scripted ${status}`))
    }
    t.equal(server.requests.length, 2)
    server.will({ status: 200 }, { status: 401 }, { status: 200 })
    t.same(await program.get(1), ['token-1'], 'the next call asks again')
    t.match(await program.get(1, 'token-1'), [/^error: .*\b401\b/])
    t.same(await program.get(1), ['token-2'], 'a token that the API has refused never comes back')
  })

  t.test(`${name}: without a token it says that grantd is unavailable, and nothing else fails`, { skip }, async t => {
    const file = credentialFile(t, 'secret\n')
    const baseUrl = `http://127.0.0.1:${await freePort()}`
    const program = startProgram(t, name, { baseUrl, clientId: 'client', credentialFile: file })
    const [result = ''] = await program.get(1)
    t.match(result, /^error: .*grantd is unavailable/)
    t.notMatch(result, /refuses|No such file/)
  })
}

t.test(
  'curl: each service, client and API has a token of its own',
  { skip: leftOutFor(LANGUAGES.curl.needs) },
  async t => {
    const folder = temporaryFolder(t)
    const [server, other] = [await startTokenServer(t), await startTokenServer(t)]
    const page = blockBelow('curl', 'bash')
    const values = { baseUrl: server.baseUrl, clientId: 'client', credentialFile: credentialFile(t, 'secret\n') }
    const get = (changed: Partial<Values>, program = page) =>
      startProgram(t, 'curl', { ...values, ...changed }, program, folder).get(1)
    server.will({ status: 200 }, { status: 200 }, { status: 200 })
    other.will({ status: 200 })
    t.same(await get({}), ['token-1'])
    t.same(await get({}, page.replace(RESOURCE, 'https://billing.example.com')), ['token-2'], 'another API')
    t.same(await get({ clientId: 'another' }), ['token-3'], 'another client')
    t.same(await get({ baseUrl: other.baseUrl }), ['token-1'], 'another service')
    t.equal(other.requests.length, 1)
    t.same(await get({}), ['token-1'], 'the first is still there')
    t.equal(server.requests.length, 3)
  }
)

t.test('every program renews its token 60 s before it expires, and not earlier', async t => {
  const available = names.filter(name => leftOutFor(LANGUAGES[name].needs) === false)
  const file = credentialFile(t, 'secret\n')
  const running = []
  // Before the first of them asks, because compiling the others stops this process for seconds.
  for (const name of available) {
    const server = await startTokenServer(t)
    const values = { baseUrl: server.baseUrl, clientId: 'client', credentialFile: file }
    running.push({ name, server, program: startProgram(t, name, values) })
  }
  await Promise.all(
    running.map(async ({ name, server, program }) => {
      server.will({ status: 200, expiresIn: 125 }, { status: 200 })
      t.same(await program.get(1), ['token-1'], name)
      await sleep(62_000)
      t.same(await program.get(1), ['token-1'], `${name} after 62 of 65 s`)
      await sleep(4_000)
      t.same(await program.get(1), ['token-2'], `${name} after 66 of 65 s`)
    })
  )
})

t.test(
  'TypeScript: with the function below "With a key", the same program proves itself by private_key_jwt',
  async t => {
    const grantd = await startApp(t)
    const { privateKey, publicKey } = generateKeyPairSync('ed25519')
    const body = {
      name: 'by key',
      expiresAt: inDays(300),
      audiences: [RESOURCE],
      publicKey: publicKey.export({ format: 'jwk' })
    }
    const made = await grantd.asAdmin('POST', '/v1/sites/acme/app-registrations', { body })
    t.equal(made.status, 201, made.text)
    const { clientId } = made.json()
    const byKey = blockBelow('With a key', 'ts')
    const bySecret = blockBelow('TypeScript', 'ts')
    const [start = '', rest] = bySecret.split('async function credential')
    t.ok(rest, 'the function is the last of the program')
    const program = startProgram(
      t,
      'TypeScript',
      {
        baseUrl: grantd.baseUrl,
        clientId,
        credentialFile: credentialFile(t, String(privateKey.export({ format: 'pem', type: 'pkcs8' })))
      },
      `${start}${byKey}`
    )
    const [first = ''] = await program.get(AT_ONCE)
    t.match(decodeJwt(first), { aud: RESOURCE, client_id: clientId })
    const [second = ''] = await program.get(1, first)
    t.match(decodeJwt(second), { client_id: clientId })
    t.not(second, first, 'each assertion is new')
  }
)

t.test('control: a program that renews for each call, or keeps what it has read, is noticed', async t => {
  const server = await startTokenServer(t)
  const page = blockBelow('TypeScript', 'ts')
  const file = credentialFile(t, 'secret\n')
  const values = { baseUrl: server.baseUrl, clientId: 'client', credentialFile: file }
  const wasteful = startProgram(t, 'TypeScript', values, page.replace('renewal ??= renew()', 'renewal = renew()'))
  server.will(...Array.from({ length: AT_ONCE }, () => ({ status: 200 })))
  await wasteful.get(AT_ONCE)
  t.equal(server.requests.length, AT_ONCE)

  const forgetful = page.replace("await readFile(SECRET_FILE, 'utf8')", 'known')
  const keeping = startProgram(
    t,
    'TypeScript',
    values,
    `${forgetful}\nconst known = await readFile(SECRET_FILE, 'utf8')\n`
  )
  server.will({ status: 200 }, { status: 200 })
  const [first] = await keeping.get(1)
  writeFileSync(file, 'another')
  await keeping.get(1, first)
  t.equal(server.requests.at(-1)?.form['client_secret'], 'secret')
})
