import { type ChildProcess, execFile } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { createServer, type Server, type ServerResponse } from 'node:http'
import path from 'node:path'
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { stringify } from 'yaml'
import { startApp } from '../fixtures/app/app.ts'
import { dumpTables, query } from '../fixtures/app/database.ts'
import { type Answer, type Grantd, type Json, send } from '../fixtures/app/grantd.ts'
import { keyPair } from '../fixtures/app/public-key.ts'
import { inDays } from '../fixtures/app/registration.ts'
import { ROOT } from '../fixtures/run/paths.ts'
import { temporaryFolder } from '../fixtures/run/process.ts'

const ISSUER = 'https://token.actions.githubusercontent.com'
const KEYED = '/v1/sites/acme/keyed-app-registrations'
const IN_90_DAYS = inDays(90)
const NO_SECRET = /grantd_[0-9A-Za-z]|eyJ/

interface Run {
  exitCode: number | null
  output: string
  errors: string
}

/** Runs the command over a file with this content, which is YAML unless it is text already. */
async function apply(t: Test, grantd: Pick<Grantd, 'baseUrl' | 'adminToken'>, content: unknown, ...options: string[]) {
  const file = path.join(temporaryFolder(t), 'registrations.yaml')
  writeFileSync(file, typeof content === 'string' ? content : stringify(content))
  return run(t, grantd, file, ...options)
}

async function run(t: Test, grantd: Pick<Grantd, 'baseUrl' | 'adminToken'>, ...words: string[]): Promise<Run> {
  return ended(t, await start(grantd, ...words))
}

/** Starts the command in a process of its own. */
async function start(
  { baseUrl, adminToken }: Pick<Grantd, 'baseUrl' | 'adminToken'>,
  ...words: string[]
): Promise<ChildProcess> {
  const { PATH = '', NODE_COMPILE_CACHE = '' } = process.env
  const token = await adminToken(['acme'])
  return execFile(process.execPath, ['src/commands/apply.ts', ...words], {
    cwd: ROOT,
    env: { PATH, NODE_COMPILE_CACHE, GRANTD_URL: baseUrl, GRANTD_TOKEN: token }
  })
}

/** Returns the result of a command that was started. */
async function ended(t: Test, child: ChildProcess): Promise<Run> {
  const { stdout, stderr } = child
  if (stdout === null || stderr === null) throw new Error('no output')
  const [output, errors, [exitCode]] = await Promise.all([text(stdout), text(stderr), once(child, 'close')])
  t.notMatch(output + errors, NO_SECRET, 'no secret is ever printed')
  return { exitCode, output, errors }
}

/** Ten registrations: four with a key, three with a subject, three whose secret is to be claimed. */
function tenRegistrations(): Json[] {
  const credentials = [
    ...Array.from({ length: 4 }, () => ({ publicKey: keyPair().publicKey })),
    ...['one', 'two', 'three'].map(name => ({ federated: { issuer: ISSUER, subject: `repo:acme/${name}` } })),
    ...Array.from({ length: 3 }, () => ({ deliver: 'claim' }))
  ]
  return credentials.map((credential, index) => ({
    ...{ key: `service-${index}`, name: `Service ${index}`, expiresAt: inDays(90 + index), scopes: ['devices:read'] },
    ...credential
  }))
}

async function keysOf(grantd: Grantd): Promise<string[]> {
  const { items } = (await grantd.asAdmin('GET', '/v1/sites/acme/app-registrations?keyed=true&limit=200')).json()
  return items.map(({ key }: Json) => key).sort()
}

t.test('a file of ten registrations is applied, applied again without a change, changed and pruned', async t => {
  const grantd = await startApp(t, { environment: { FEDERATED_ISSUERS: ISSUER } })
  await grantd.register({ name: 'made by hand' })
  const ten = tenRegistrations()
  const first = await apply(t, grantd, { site: 'acme', registrations: ten })
  t.equal(first.exitCode, 0, first.errors)
  t.match(first.output, /^\+ service-0 {2}created, clientId [a-z0-9]{20}\n {4}name: "Service 0"\n/m)
  t.match(first.output, /credential: key [\w-]{43} \(ES256\)\n/)
  t.match(first.output, `credential: subject repo:acme/one of ${ISSUER}\n`)
  t.match(first.output, /\n10 created\n$/)
  t.same(
    await keysOf(grantd),
    ten.map(({ key }) => key)
  )

  const before = await dumpTables(grantd.databaseUrl)
  const second = await apply(t, grantd, { site: 'acme', registrations: ten })
  t.equal(second.exitCode, 0)
  t.match(second.output, /\n10 unchanged\n$/)
  const { registrations, audit_events: events } = await dumpTables(grantd.databaseUrl)
  t.same(registrations, before['registrations'], 'no version moves')
  t.same(events, before['audit_events'])

  // Nobody has used the registrations for long, so that they may be pruned.
  await query(grantd.databaseUrl, `update registrations set registered_at = now() - interval '30 days'`)
  const [changed, renewed, ...others] = ten
  const expiresAt = inDays(200)
  const next = [
    { ...changed, scopes: ['devices:read', 'devices:write'], mayIdle: true },
    { ...renewed, expiresAt },
    ...others.slice(0, 6)
  ]
  const planned = await apply(t, grantd, { site: 'acme', registrations: next }, '--prune', '--dry-run')
  t.match(planned.output, /2 would be changed, 6 unchanged, 2 would be deleted\n$/)
  t.equal((await keysOf(grantd)).length, 10)
  const third = await apply(t, grantd, { site: 'acme', registrations: next }, '--prune')
  t.equal(third.exitCode, 0, third.errors)
  t.match(
    third.output,
    '~ service-0  changed\n    scopes: ["devices:read"] -> ["devices:read","devices:write"]\n    mayIdle: false -> true\n'
  )
  t.match(third.output, `~ service-1  changed\n    expiresAt: ${JSON.stringify(renewed.expiresAt)} -> "${expiresAt}"\n`)
  t.match(third.output, /^- service-8 {2}deleted, clientId [a-z0-9]{20}, never used/m)
  t.match(third.output, /\n2 changed, 6 unchanged, 2 deleted\n$/)
  t.same(
    await keysOf(grantd),
    next.map(({ key }) => key)
  )
  const { items } = (await grantd.asAdmin('GET', '/v1/sites/acme/app-registrations?keyed=false')).json()
  t.match(items, [{ name: 'made by hand' }], 'a registration without a key is never pruned')
})

t.test('a dry run prints the same diff and the same refusals, and stores nothing', async t => {
  const grantd = await startApp(t)
  const { publicKey } = keyPair()
  const entry = { key: 'a', name: 'A', expiresAt: inDays(50), publicKey }
  await apply(t, grantd, { site: 'acme', registrations: [entry] })
  const registrations = [
    { ...entry, name: 'B' },
    { ...entry, key: 'new' },
    { ...entry, key: 'bad', expiresAt: inDays(-1), scopes: ['"'] }
  ]
  const before = await dumpTables(grantd.databaseUrl)
  const planned = await apply(t, grantd, { site: 'acme', registrations }, '--dry-run')
  t.same(await dumpTables(grantd.databaseUrl), before)
  t.equal(planned.exitCode, 1, 'a reviewer sees that an entry will be refused')
  const done = await apply(t, grantd, { site: 'acme', registrations })
  const comparable = (output: string) => output.replaceAll(/would be |, clientId \w+|Dry run, nothing is stored: /g, '')
  t.equal(comparable(planned.output), comparable(done.output))
  t.match(
    done.output,
    /^! bad {2}refused\n {4}400 invalid_request: .*\n {6}\/scopes\/0: .*\n {6}\/expiresAt: must be in/m
  )
})

t.test('a refused registration leaves the others applied, and prunes nothing', async t => {
  const grantd = await startApp(t)
  const one = { key: 'one', name: 'One', expiresAt: inDays(50), publicKey: keyPair().publicKey }
  const other = { ...one, key: 'other' }
  await apply(t, grantd, { site: 'acme', registrations: [one, other, { ...one, key: 'third' }] })
  await query(grantd.databaseUrl, `update registrations set registered_at = now() - interval '30 days'`)
  const shorter = [
    { ...one, expiresAt: inDays(40) },
    { ...other, name: 'renamed' }
  ]
  const refused = await apply(t, grantd, { site: 'acme', registrations: shorter }, '--prune')
  t.equal(refused.exitCode, 1)
  t.match(refused.output, /^! one {2}refused\n {4}409 would_shorten: .*allowShorter=true/m)
  t.match(refused.output, /^~ other {2}changed\n/m)
  t.match(refused.output, /\nNothing is pruned, because an entry was refused\n/)
  t.same(await keysOf(grantd), ['one', 'other', 'third'])
  const allowed = await apply(t, grantd, { site: 'acme', registrations: shorter }, '--prune', '--allow-shorter')
  t.equal(allowed.exitCode, 0)
  t.same(await keysOf(grantd), ['one', 'other'])
  const rotated = [{ ...one, publicKey: keyPair().publicKey }]
  const differing = await apply(t, grantd, { site: 'acme', registrations: rotated }, '--allow-shorter')
  t.match(differing.output, /409 credential_differs: The registration has the key .*A PUT never rotates/)
})

// [SECRET-65]
t.test('--prune keeps what was used, and deletes nothing for an empty file', async t => {
  const grantd = await startApp(t)
  const used = (await grantd.asAdmin('PUT', `${KEYED}/used`, { body: { name: 'x', expiresAt: inDays(9) } })).json()
  await grantd.exchange(used)
  const kept = { key: 'kept', name: 'x', expiresAt: inDays(9), publicKey: keyPair().publicKey }
  await grantd.asAdmin('PUT', `${KEYED}/young`, { body: { name: 'x', expiresAt: inDays(9) } })
  await grantd.asAdmin('PUT', `${KEYED}/gateway`, { body: { name: 'x', expiresAt: inDays(9), mayIntrospect: true } })
  const planned = await apply(t, grantd, { site: 'acme', registrations: [kept] }, '--prune', '--dry-run')
  const refused = await apply(t, grantd, { site: 'acme', registrations: [kept] }, '--prune')
  t.equal(planned.exitCode, 1, 'a dry run ends as the run does')
  t.equal(pruning(planned), pruning(refused), 'a dry run says which are refused')
  t.match(refused.output, /^! young {2}refused, clientId .*, never used since .*\n {4}409 recently_used: /m)
  t.equal(refused.exitCode, 1)
  t.match(refused.output, /^! used {2}refused, clientId .*, last used .*\n {4}409 recently_used: /m)
  t.match(refused.output, /^! gateway {2}refused, .*\n {4}409 recently_used: .*does not record introspections/m)
  const empty = await apply(t, grantd, { site: 'acme', registrations: [] }, '--prune')
  t.equal(empty.exitCode, 2)
  t.match(empty.errors, /has no registrations, and --prune would delete all/)
  t.same(await keysOf(grantd), ['gateway', 'kept', 'used', 'young'])
})

/** Returns the lines about registrations that are pruned. */
function pruning({ output }: Run): string {
  return output.slice(output.indexOf('! '), output.lastIndexOf('\n', output.length - 2))
}

t.test('a wrong option ends the command before anything is changed', async t => {
  const grantd = await startApp(t)
  const registrations = [{ key: 'a', name: 'x', expiresAt: inDays(9), publicKey: keyPair().publicKey }]
  const existing = path.join(temporaryFolder(t), 'secrets')
  writeFileSync(existing, 'the only copy')
  for (const [options, message] of [
    [['--prune', '--unused-for', 'P1Y'], /--unused-for must be days and hours/],
    [['--prune', '--unused-for', '30d'], /--unused-for must be days and hours/],
    [['--prune', '--unused-for', 'P0000007D'], /--unused-for must be days and hours/],
    [['--unused-for', 'P7D'], /--unused-for belongs to --prune/],
    [['--secrets-file', existing], /--secrets-file must name a new file/],
    [['--secrets-file', '/nowhere/secrets'], /--secrets-file must name a new file/]
  ] as const) {
    for (const dryRun of [[], ['--dry-run']]) {
      const refused = await apply(t, grantd, { site: 'acme', registrations }, ...options, ...dryRun)
      t.match(refused, { exitCode: 2, errors: message }, options.join(' '))
    }
  }
  t.same(await keysOf(grantd), [])
  t.equal(readFileSync(existing, 'utf8'), 'the only copy')
})

// [SECRET-64]
t.test('a secret goes to a new file that only its owner can read, and without one none is made', async t => {
  const grantd = await startApp(t)
  const registrations = [
    { key: 'secret', name: 'x', expiresAt: inDays(9) },
    { key: 'ticket', name: 'x', expiresAt: inDays(9), deliver: 'claim' }
  ]
  const without = await apply(t, grantd, { site: 'acme', registrations })
  t.equal(without.exitCode, 1)
  t.match(without.output, /^! secret {2}refused\n {4}It would get a Client secret/m)
  t.match(without.output, /^\+ ticket {2}created.*\n(?: {4}.*\n)* {4}claim ticket: not kept/m)
  t.same(await keysOf(grantd), ['ticket'])
  await grantd.asAdmin('DELETE', `${KEYED}/ticket`)

  const file = path.join(temporaryFolder(t), 'secrets')
  const planned = await apply(t, grantd, { site: 'acme', registrations }, '--secrets-file', file, '--dry-run')
  t.match(planned.output, /2 would be created\n$/)
  t.notOk(existsSync(file))
  const done = await apply(t, grantd, { site: 'acme', registrations }, '--secrets-file', file)
  t.equal(done.exitCode, 0, done.output)
  t.equal(statSync(file).mode & 0o777, 0o600)
  const [secret, ticket] = readFileSync(file, 'utf8')
    .trim()
    .split('\n')
    .map(line => JSON.parse(line))
  t.equal(secret.key, 'secret')
  t.equal((await grantd.exchange(secret)).status, 200)
  t.equal(ticket.key, 'ticket')
  const headers = { authorization: `Bearer ${ticket.claim.ticket}` }
  t.equal((await grantd.send('POST', '/v1/claims', { headers })).status, 201)
  const again = await apply(t, grantd, { site: 'acme', registrations }, '--secrets-file', file)
  t.equal(again.exitCode, 2, 'a file with secrets is not overwritten')
  t.match(again.errors, /--secrets-file must name a new file/)
  const unused = path.join(temporaryFolder(t), 'unused')
  await apply(t, grantd, { site: 'acme', registrations }, '--secrets-file', unused)
  t.notOk(existsSync(unused), 'a file that nothing was written to does not stay')
})

t.test('an answer that got lost is asked for again, and brings the same secret', async t => {
  const grantd = await startApp(t)
  let puts = 0
  const baseUrl = await startProxy(t, grantd, ({ method, response }) => {
    if (method === 'PUT' && puts++ === 0) response.destroy()
  })
  const file = path.join(temporaryFolder(t), 'secrets')
  const registrations = [{ key: 'secret', name: 'x', expiresAt: inDays(9) }]
  const done = await apply(t, { ...grantd, baseUrl }, { site: 'acme', registrations }, '--secrets-file', file)
  t.match(done.output, /1 created\n$/)
  t.equal(puts, 2)
  t.equal((await grantd.exchange(JSON.parse(readFileSync(file, 'utf8')))).status, 200)
})

t.test('an interrupted run keeps the secret of the request under way, and ends before the last', async t => {
  const grantd = await startApp(t)
  const file = path.join(temporaryFolder(t), 'registrations.yaml')
  const entry = { name: 'x', expiresAt: inDays(9) }
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    // An answer and a signal that come together are taken in this order, so that the second one may be under way too.
    const keys = ['one', 'two', 'three'].map(key => `${key}-${signal.toLowerCase()}`)
    writeFileSync(file, stringify({ site: 'acme', registrations: keys.map(key => ({ key, ...entry })) }))
    const secrets = path.join(temporaryFolder(t), 'secrets')
    const children: ChildProcess[] = []
    const baseUrl = await startProxy(t, grantd, ({ method }) => {
      // npm passes on what its group has got, so that the signal comes twice.
      if (method === 'PUT') for (const child of [...children, ...children]) child.kill(signal)
    })
    const child = await start({ ...grantd, baseUrl }, file, '--secrets-file', secrets)
    children.push(child)
    const { exitCode, output, errors } = await ended(t, child)
    t.equal(exitCode, 2)
    t.match(errors, /^not applied: interrupted\. What was printed before is done\n$/)
    t.match(output, new RegExp(`^\\+ ${keys[0]} {2}created`, 'm'))
    const kept = readFileSync(secrets, 'utf8')
      .trim()
      .split('\n')
      .map(line => JSON.parse(line))
    const created = (await keysOf(grantd)).filter(key => keys.includes(key))
    t.same(kept.map(({ key }) => key).sort(), created, 'no secret is lost')
    for (const client of kept) t.equal((await grantd.exchange(client)).status, 200)
    t.notOk(created.includes(String(keys.at(-1))))
  }
})

t.test('a service that is not grantd ends the command with exit code 2, whatever it answers', async t => {
  const publicKey = keyPair().publicKey
  const entry = { key: 'a', name: 'x', expiresAt: inDays(9), publicKey }
  const page = JSON.stringify({ items: [], nextCursor: null })
  for (const [listing, other] of [
    ['<html>', '<html>'],
    ['{"ok":true}', '{"ok":true}'],
    ['[]', '[]'],
    ['null', 'null'],
    [page, '{"ok":true}'],
    [page, '{"key":"b","clientId":"x"}'],
    [page, '<html>']
  ] as const) {
    const server = createServer(({ url = '' }, response) => {
      const body = url.includes('/app-registrations?') ? listing : other
      response.writeHead(200, { 'content-type': body === '<html>' ? 'text/html' : 'application/json' }).end(body)
    })
    const baseUrl = await listen(t, server)
    const service = { baseUrl, adminToken: async () => 'a-token' }
    const applied = await apply(t, service, { site: 'acme', registrations: [entry] })
    t.match(applied, { exitCode: 2, errors: /GRANTD_URL is another service/ }, `${listing} ${other}`)
    const empty = await apply(t, service, { site: 'acme', registrations: [] })
    t.equal(empty.exitCode, listing === page ? 0 : 2, `${listing} with an empty file`)
  }
})

t.test('the output says when the client of a registration gets no tokens', async t => {
  const grantd = await startApp(t)
  const credential = { publicKey: keyPair().publicKey }
  const registrations = [
    { key: 'soon', name: 'x', expiresAt: inDays(9), ...credential },
    { key: 'off', name: 'x', expiresAt: inDays(9), enabled: false, ...credential }
  ]
  const first = await apply(t, grantd, { site: 'acme', registrations })
  t.match(first.output, /^\+ off {2}created, clientId [a-z0-9]+, disabled: its client gets no tokens$/m)
  const [row] = await query(
    grantd.databaseUrl,
    `update registrations set registered_at = now() - interval '9 days', expires_at = date_trunc('second', now()) where key = 'soon' returning expires_at`
  )
  const [soon, off] = registrations
  const expired = { ...soon, expiresAt: new Date(Object(row).expires_at).toISOString() }
  const second = await apply(t, grantd, { site: 'acme', registrations: [expired, off] })
  t.match(second.output, /^= soon {2}unchanged, expired: its client gets no tokens$/m)
  t.match(second.output, /^= off {2}unchanged, disabled: its client gets no tokens$/m)
})

t.test('a registration that changes while the command runs is refused with what to do', async t => {
  const grantd = await startApp(t)
  const entry = { key: 'a', name: 'x', expiresAt: IN_90_DAYS, publicKey: keyPair().publicKey }
  let finds = 0
  const baseUrl = await startProxy(t, grantd, async ({ method, url }) => {
    const { key, ...body } = { ...entry, name: `another ${finds}` }
    if (method === 'GET' && url.includes(key)) await grantd.asAdmin('PUT', `${KEYED}/${key}`, { body })
    finds++
  })
  for (const _ of ['created', 'changed']) {
    const late = await apply(t, { ...grantd, baseUrl }, { site: 'acme', registrations: [entry] })
    t.equal(late.exitCode, 1)
    t.match(late.output, /^! a {2}refused\n {4}It was created, changed or deleted while this command ran\. Run the/m)
  }
})

t.test('a file is applied through a proxy that weakens entity tags, and through one that drops them', async t => {
  const grantd = await startApp(t)
  const { publicKey } = keyPair()
  const registrations = (name: string) => [{ key: 'a', name, expiresAt: IN_90_DAYS, publicKey }]
  for (const etagOf of [(etag: string) => `W/${etag}`, () => '']) {
    const baseUrl = await startProxy(t, grantd, ({ headers }) => {
      const { etag } = headers
      delete headers['etag']
      if (typeof etag === 'string' && etagOf(etag) !== '') headers['etag'] = etagOf(etag)
    })
    const outcomes: string[] = []
    for (const name of ['one', 'one', 'two']) {
      const { output } = await apply(t, { ...grantd, baseUrl }, { site: 'acme', registrations: registrations(name) })
      outcomes.push(output.trim().split('\n').at(-1) ?? '')
    }
    t.same(outcomes, ['1 created', '1 unchanged', '1 changed'])
    await grantd.asAdmin('DELETE', `${KEYED}/a`)
  }
})

interface Passing {
  method: string
  url: string
  /** Headers of the answer. */
  headers: Answer['headers']
  response: ServerResponse
}

/** Starts a proxy in front of grantd. @param onAnswer changes an answer, or loses it @returns its base URL */
async function startProxy(t: Test, grantd: Grantd, onAnswer: (passing: Passing) => unknown): Promise<string> {
  const proxy = createServer(async (request, response) => {
    const { method = '', url = '', headers } = request
    const { 'content-length': _, connection: __, ...others } = headers
    const answer = await send(method, `${grantd.baseUrl}${url}`, { headers: others, body: await text(request) })
    const { 'transfer-encoding': ___, ...kept } = answer.headers
    await onAnswer({ method, url, headers: kept, response })
    if (!response.destroyed) response.writeHead(answer.status, Object(kept)).end(answer.text)
  })
  return listen(t, proxy)
}

/** Returns the base URL of a server that was made for a test. */
async function listen(t: Test, server: Server): Promise<string> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  return `http://127.0.0.1:${Object(server.address()).port}`
}

t.test('a file that is wrong is refused with every fault, before anything is sent', async t => {
  const nowhere = { baseUrl: 'http://127.0.0.1:1', adminToken: async () => 'a-token' }
  const wrong = await apply(t, nowhere, 'site: no site\nregistrations: [{ key: A }]')
  t.equal(wrong.exitCode, 2)
  t.match(wrong.errors, /^not applied: .*: site: must be the id of a Site\nregistrations\[0\]\.key: must be 1 to 63/)
  t.match(await run(t, nowhere, '/nowhere.yaml'), { exitCode: 2, errors: /^not applied: \/nowhere\.yaml: ENOENT/ })
  t.match(await run(t, nowhere), { exitCode: 2, errors: /usage: npm run apply/ })
  t.match(await run(t, nowhere, '--nothing'), { exitCode: 2, errors: /usage: npm run apply/ })
  for (const help of ['--help', '-h']) {
    t.match(await run(t, nowhere, help), { exitCode: 0, output: /^usage: npm run apply/, errors: '' })
  }
})

t.test('a service that is away, and a token without the right, end the command with exit code 2', async t => {
  const grantd = await startApp(t)
  const entry = { key: 'a', name: 'x', expiresAt: inDays(9), publicKey: keyPair().publicKey }
  const { publicKey: _, ...withSecret } = entry
  for (const registrations of [[entry], [withSecret], []]) {
    const foreign = await apply(t, grantd, { site: 'globex', registrations })
    t.equal(foreign.exitCode, 2)
    t.match(foreign.errors, /GRANTD_TOKEN does not administer this Site/)
  }
  const junk = { ...grantd, adminToken: async () => 'junk' }
  const refused = await apply(t, junk, { site: 'acme', registrations: [entry] })
  t.equal(refused.exitCode, 2)
  t.match(refused.errors, /401 unauthorized/)
  await grantd.close()
  const away = await apply(t, grantd, { site: 'acme', registrations: [entry] })
  t.equal(away.exitCode, 2)
  t.match(away.errors, /cannot be reached/)
})
