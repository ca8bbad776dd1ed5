import { randomBytes, randomUUID } from 'node:crypto'
import { connect, createServer, type Socket } from 'node:net'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { recordEvent } from '../../../src/audit/record.ts'
import { FairSemaphore } from '../../../src/concurrency/fair-semaphore.ts'
import { createRegistration } from '../../../src/registrations/creation/service.ts'
import { completed } from '../../../src/registrations/credential-answer.ts'
import { addedFields, withoutAddedDefaults } from '../../../src/registrations/fields.ts'
import { idempotentAnswerPurge } from '../../../src/registrations/idempotency/plugin.ts'
import { RegistrationSchema } from '../../../src/registrations/schemas.ts'
import { Clock, signAdminToken, startApp } from '../../fixtures/app/app.ts'
import { CONTEXT, eventOf } from '../../fixtures/app/audit.ts'
import { createDatabase, openTestDatabase, query } from '../../fixtures/app/database.ts'
import type { Answer, Grantd } from '../../fixtures/app/grantd.ts'
import { COLLECTION, inDays } from '../../fixtures/app/registration.ts'
import { startTcpProxy } from '../../fixtures/faults/tcp-proxy.ts'
import { until } from '../../fixtures/run/until.ts'

const MINUTE_MS = 60_000

/** A create with a key of its own, to be tried any number of times. */
function retryable(key: string = randomUUID(), body: unknown = { name: 'billing', expiresAt: inDays(100) }) {
  return { key, body, headers: { 'idempotency-key': key } }
}

function create(
  grantd: Grantd,
  { body, headers }: { body: unknown; headers: Record<string, string> },
  path = COLLECTION
) {
  return grantd.asAdmin('POST', path, { body, headers })
}

function told({ status, text, headers }: Answer) {
  return { status, text, location: headers.location, etag: headers.etag, cacheControl: headers['cache-control'] }
}

async function count(databaseUrl: string): Promise<{ registrations: number; events: number }> {
  const [row] = await query(
    databaseUrl,
    'select (select count(*)::int from registrations) registrations, (select count(*)::int from audit_events) events'
  )
  return Object(row)
}

t.test('a retry with the same key and body answers the same 201 with the same secret, on every instance', async t => {
  const clock = new Clock()
  const one = await startApp(t, { now: clock.now })
  const other = await startApp(t, { databaseUrl: one.databaseUrl, now: clock.now })
  const tried = retryable(undefined, { name: ' Cafe\u0301 ', expiresAt: inDays(30, clock.time), scopes: ['a'] })
  const first = await create(one, tried)
  t.equal(first.status, 201)
  clock.advance(5 * MINUTE_MS)
  t.same(told(await create(one, tried)), told(first))
  t.same(told(await create(other, tried)), told(first))
  // The same members in another order, and a default that is spelled out, are the same body.
  const { name, expiresAt, scopes } = Object(tried.body)
  t.same(told(await create(other, { ...tried, body: { scopes, enabled: true, expiresAt, name } })), told(first))
  t.same(await count(one.databaseUrl), { registrations: 1, events: 1 })
  t.equal((await other.exchange(first.json())).status, 200)
})

t.test('a retry gets the answer of the first try, even when the registration was changed or deleted since', async t => {
  const grantd = await startApp(t)
  const tried = retryable()
  const first = await create(grantd, tried)
  const path = String(first.headers.location)
  await grantd.exchange(first.json())
  await grantd.asAdmin('PATCH', path, { body: { name: 'renamed', enabled: false } })
  t.same(told(await create(grantd, tried)), told(first))
  await grantd.asAdmin('DELETE', path)
  t.same(told(await create(grantd, tried)), told(first))
  t.equal((await grantd.exchange(first.json())).status, 401, 'it is deleted all the same')
  t.equal((await count(grantd.databaseUrl)).registrations, 0)
})

t.test('a retry is not validated again: its expiry may have passed, and its Site may be full', async t => {
  const clock = new Clock()
  const grantd = await startApp(t, { now: clock.now, environment: { MAX_REGISTRATIONS_PER_SITE: '1' } })
  const tried = retryable(undefined, { name: 'x', expiresAt: new Date(clock.time + MINUTE_MS).toISOString() })
  const first = await create(grantd, tried)
  clock.advance(2 * MINUTE_MS)
  t.same(told(await create(grantd, tried)), told(first))
})

t.test('a retry that comes from release 0.2.0 is recognised, and gets an answer with every member', async t => {
  const grantd = await startApp(t)
  const { answer } = await grantd.register({ name: 'billing', expiresAt: '2027-01-01T00:00:00.000Z' })
  const body = answer.json()
  const { clientId, name, expiresAt, enabled, scopes } = body
  const { registeredAt, lastUsedAt, expiresInDays, state, credential, previousCredential } = body
  // The members that 0.2.0 has, in the request and in the answer.
  const asked = { name, expiresAt, enabled, scopes }
  t.same(withoutAddedDefaults({ ...asked, ...addedFields }), asked)
  const first = { clientId, ...asked, registeredAt, lastUsedAt, expiresInDays, state, credential, previousCredential }
  const whole = completed({ body: Object(first), version: 1 }).body
  t.same(Object.keys(whole).sort(), Object.keys(RegistrationSchema.properties).sort())
  t.same({ ...whole, clientSecret: body.clientSecret }, body)
})

t.test('a registration with a member that release 0.2.0 lacks is another request', async t => {
  const fields = { name: 'billing', expiresAt: '2027-01-01T00:00:00.000Z', enabled: true, scopes: [], ...addedFields }
  for (const added of [
    ...[{ audiences: ['a'] }, { mayIdle: true }, { selfRotation: true }],
    ...[{ tokenLifetimeSeconds: 60 }, { dpopBound: true }, { mayIntrospect: true }]
  ]) {
    t.match(withoutAddedDefaults({ ...fields, ...added }), added)
  }
})

t.test('the same key with another body is refused with 422 and creates nothing', async t => {
  const grantd = await startApp(t)
  const tried = retryable()
  const first = await create(grantd, tried)
  for (const member of [{ name: 'other' }, { expiresAt: inDays(50) }, { enabled: false }, { scopes: ['a'] }]) {
    const answer = await create(grantd, { ...tried, body: { ...Object(tried.body), ...member } })
    t.equal(answer.status, 422)
    t.equal(answer.json().code, 'idempotency_key_reused')
    t.notOk(answer.text.includes(first.json().clientId))
  }
  t.same(await count(grantd.databaseUrl), { registrations: 1, events: 1 })
  t.same(told(await create(grantd, tried)), told(first), 'and the first is still there to be told')
})

t.test('a malformed key is refused with 400, naming the header', async t => {
  const grantd = await startApp(t)
  const authorization = `Bearer ${await grantd.adminToken(['acme'])}`
  for (const key of ['', 'x'.repeat(15), 'x'.repeat(256), `${'x'.repeat(16)} y`, `${'x'.repeat(16)}\u00e9`, '\t']) {
    const answer = await create(grantd, retryable(key))
    t.equal(answer.status, 400, key)
    t.match(answer.json(), { code: 'invalid_request', errors: [{ parameter: 'idempotency-key' }] })
  }
  const { body, key } = retryable()
  const twice = await grantd.send('POST', COLLECTION, {
    headers: [
      ...['Host', 'grantd', 'Authorization', authorization, 'Content-Type', 'application/json'],
      ...['Content-Length', String(JSON.stringify(body).length), 'Idempotency-Key', key, 'Idempotency-Key', key]
    ],
    body: JSON.stringify(body)
  })
  t.equal(twice.status, 400, 'two of them')
  t.equal((await count(grantd.databaseUrl)).registrations, 0)
  for (const key of ['x'.repeat(16), 'x'.repeat(255), '"quoted-as-a-structured-field"', '!~#$%^&*()_+-=[]{}']) {
    t.equal((await create(grantd, retryable(key))).status, 201, key)
  }
})

t.test('a key belongs to one caller in one Site, and creates another registration elsewhere', async t => {
  const grantd = await startApp(t)
  const tried = retryable()
  const first = await create(grantd, tried)
  const elsewhere = await create(grantd, tried, '/v1/sites/umbrella/app-registrations')
  const authorization = `Bearer ${await signAdminToken(['acme'], Date.now(), 'grace')}`
  const other = await create(grantd, { ...tried, headers: { ...tried.headers, authorization } })
  const another = await create(grantd, {
    body: { ...Object(tried.body), name: 'x' },
    headers: { ...tried.headers, authorization }
  })
  t.equal(another.status, 422)
  const made = [first, elsewhere, other]
  t.same(
    made.map(({ status }) => status),
    [201, 201, 201]
  )
  t.equal(new Set(made.map(answer => answer.json().clientId)).size, 3)
  t.equal(new Set(made.map(answer => answer.json().clientSecret)).size, 3)
  t.same(told(await create(grantd, tried)), told(first))
})

t.test(
  '20 requests at once with one key, over two instances, create one registration and get the same 201',
  async t => {
    const one = await startApp(t)
    const other = await startApp(t, { databaseUrl: one.databaseUrl })
    for (let round = 0; round < 3; round++) {
      const tried = retryable()
      const answers = await Promise.all(
        Array.from({ length: 20 }, (_, index) => create(index % 2 === 0 ? one : other, tried))
      )
      t.same(new Set(answers.map(answer => JSON.stringify(told(answer)))).size, 1)
      t.equal(answers[0]?.status, 201)
      t.same(await count(one.databaseUrl), { registrations: round + 1, events: round + 1 })
    }
  }
)

t.test('of two requests at once with one key and different bodies, one creates and the other gets 422', async t => {
  const grantd = await startApp(t)
  const { key } = retryable()
  const answers = await Promise.all(
    ['one', 'other'].map(name => create(grantd, retryable(key, { name, expiresAt: inDays(10) })))
  )
  t.same(answers.map(({ status }) => status).sort(), [201, 422])
  t.same(await count(grantd.databaseUrl), { registrations: 1, events: 1 })
})

t.test('an answer with an error is not stored, so the same key can be retried', async t => {
  const grantd = await startApp(t, { environment: { MAX_REGISTRATIONS_PER_SITE: '1' } })
  const { path } = await grantd.register()
  const { key, ...tried } = retryable()
  t.equal((await create(grantd, tried)).status, 409)
  t.equal((await create(grantd, { ...tried, body: { name: '', expiresAt: inDays(-1) } })).status, 400)
  t.same(await query(grantd.databaseUrl, 'select from idempotent_answers'), [])
  await grantd.asAdmin('DELETE', path)
  t.equal((await create(grantd, tried)).status, 201)
})

t.test('after 10 minutes a key is new again', async t => {
  const clock = new Clock()
  const grantd = await startApp(t, { now: clock.now })
  const tried = retryable(undefined, { name: 'x', expiresAt: inDays(10, clock.time) })
  const first = await create(grantd, tried)
  clock.advance(10 * MINUTE_MS - 1)
  t.same(told(await create(grantd, tried)), told(first))
  clock.advance(1)
  const answers = await Promise.all(Array.from({ length: 5 }, () => create(grantd, tried)))
  t.same(new Set(answers.map(({ status }) => status)), new Set([201]))
  t.equal(new Set(answers.map(({ text }) => text)).size, 1)
  t.not(answers[0]?.json().clientId, first.json().clientId)
  t.equal((await create(grantd, { ...tried, body: { name: 'y', expiresAt: inDays(10, clock.time) } })).status, 422)
  t.equal((await count(grantd.databaseUrl)).registrations, 2)
})

t.test('answers are deleted from the table after 10 minutes, and no earlier', async t => {
  const clock = new Clock()
  const grantd = await startApp(t, { now: clock.now })
  const db = openTestDatabase(t, grantd.databaseUrl)
  await create(grantd, retryable(undefined, { name: 'old', expiresAt: inDays(10, clock.time) }))
  clock.advance(MINUTE_MS)
  await create(grantd, retryable(undefined, { name: 'young', expiresAt: inDays(10, clock.time) }))
  clock.advance(9 * MINUTE_MS)
  const app = Fastify()
  await app.register(idempotentAnswerPurge, { db, now: clock.now, intervalMs: 5 })
  await app.ready()
  t.teardown(() => app.close())
  const left = () => query(grantd.databaseUrl, 'select expires_at from idempotent_answers')
  await until('the old one is gone', async () => (await left()).length === 1)
  t.same(await left(), [{ expires_at: new Date(clock.time + MINUTE_MS) }])
  clock.advance(MINUTE_MS)
  await until('the young one too', async () => (await left()).length === 0)
  t.equal((await count(grantd.databaseUrl)).registrations, 2)
})

// [FAULT-20]
t.test('a client that loses its connection between commit and answer gets the secret with a retry', async t => {
  const grantd = await startApp(t)
  const db = openTestDatabase(t, grantd.databaseUrl)
  const proxy = await startTcpProxy(t, { host: '127.0.0.1', port: Number(new URL(grantd.baseUrl).port) })
  const tried = retryable()
  // The create waits for its place in the audit chain, as its last step.
  const released = Promise.withResolvers<void>()
  const locked = Promise.withResolvers<void>()
  const holding = db.transaction().execute(async trx => {
    await recordEvent(trx, eventOf('acme'))
    locked.resolve()
    await released.promise
  })
  await locked.promise
  const cut = fetch(`http://127.0.0.1:${proxy.port}${COLLECTION}`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${await grantd.adminToken(['acme'])}`,
      'content-type': 'application/json',
      ...tried.headers
    },
    body: JSON.stringify(tried.body)
  }).then(
    response => response.status,
    () => 'cut off'
  )
  await until('it waits', async () => {
    const waiting = await query(
      grantd.databaseUrl,
      `select from pg_locks where locktype = 'advisory' and not granted and database = (select oid from pg_database where datname = current_database())`
    )
    return waiting.length === 1
  })
  proxy.freeze()
  released.resolve()
  await holding
  await until('it is committed', async () => (await count(grantd.databaseUrl)).registrations === 1)
  proxy.cut()
  t.equal(await cut, 'cut off')
  const answer = await create(grantd, tried)
  t.equal(answer.status, 201)
  t.equal((await grantd.exchange(answer.json())).status, 200)
  t.same(await count(grantd.databaseUrl), { registrations: 1, events: 2 })
})

// [FAULT-19]
t.test('a commit whose result is unknown is not answered with 201, and a retry gets what it created', async t => {
  const databaseUrl = await createDatabase(t)
  const { url, loseCommits } = await proxyThatLosesCommits(t, databaseUrl)
  const grantd = await startApp(t, { databaseUrl: url })
  const tried = retryable()
  loseCommits(true)
  const first = await create(grantd, tried)
  t.equal(first.status, 503)
  t.same(await count(databaseUrl), { registrations: 1, events: 1 }, 'it was committed')
  loseCommits(false)
  const second = await create(grantd, tried)
  t.equal(second.status, 201)
  t.equal((await grantd.exchange(second.json())).status, 200)
  t.same(await count(databaseUrl), { registrations: 1, events: 1 })
})

/** A way to this Postgres on which a connection can break between a commit and its answer. */
async function proxyThatLosesCommits(t: Test, databaseUrl: string) {
  const url = new URL(databaseUrl)
  const folder = url.searchParams.get('host')
  const target =
    folder === null ? { host: url.hostname, port: Number(url.port || '5432') } : { path: `${folder}/.s.PGSQL.5432` }
  let losesCommits = false
  const sockets = new Set<Socket>()
  const server = createServer(client => {
    const upstream = connect(target)
    let isLost = false
    let hasInserted = false
    client.on('data', bytes => {
      // Reads are committed as well: the one that is lost is of what was made.
      hasInserted ||= bytes.includes('insert into "registrations"')
      isLost ||= losesCommits && hasInserted && bytes.includes('commit')
      upstream.write(bytes)
    })
    upstream.on('data', bytes => (isLost ? client.resetAndDestroy() : client.write(bytes)))
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.on('error', () => {}).on('close', () => [client, upstream].map(each => each.destroy()))
    }
  })
  const listening = Promise.withResolvers<void>()
  server.listen(0, '127.0.0.1', listening.resolve)
  await listening.promise
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  const address = server.address()
  if (typeof address !== 'object' || address === null) throw new Error('no port')
  url.searchParams.delete('host')
  url.host = `127.0.0.1:${address.port}`
  return {
    url: url.href,
    loseCommits: (on: boolean) => {
      losesCommits = on
    }
  }
}

/** Counts the hashes. */
class CountingSemaphore extends FairSemaphore {
  hashes = 0

  override run<T>(key: string, work: () => Promise<T>): Promise<T> {
    this.hashes++
    return super.run(key, work)
  }
}

t.test('a retry computes no hash, and the table holds nothing of the answer in clear', async t => {
  const databaseUrl = await createDatabase(t)
  const hashing = new CountingSemaphore({ permits: 1, maxWaitingPerKey: 10, maxWaiting: 10 })
  const site = { siteId: 'acme', db: openTestDatabase(t, databaseUrl) }
  const options = {
    hashing,
    now: Date.now,
    retryPeppers: [randomBytes(32)],
    secretPrefix: 'grantd_',
    macKeys: { create: () => ({ keyId: 'k', mac: randomBytes(32), digest: randomBytes(16) }) },
    onChanged: () => {},
    maxLifetimeDays: 730,
    maxTokenLifetimeSeconds: 900,
    maxPerSite: 10,
    scopesSupported: undefined,
    federatedIssuers: []
  }
  const key = randomUUID()
  const input = {
    name: 'canary name',
    expiresAt: inDays(10),
    enabled: true,
    scopes: ['canary:scope'],
    audiences: ['canary'],
    tokenLifetimeSeconds: null,
    dpopBound: false,
    mayIntrospect: false,
    mayIdle: false,
    selfRotation: false
  }
  const request = { idempotencyKey: key, context: CONTEXT, signal: new AbortController().signal }
  const first = await createRegistration(site, options, input, request)
  t.same(await createRegistration(site, options, input, request), first)
  t.equal(hashing.hashes, 1)
  const rows = await query(databaseUrl, 'select * from idempotent_answers')
  t.equal(rows.length, 1)
  const { body } = first
  const { key_digest: digest, sealed } = Object(rows[0])
  const dump = Buffer.concat([digest, sealed])
  for (const text of [key, String(body.clientSecret), 'grantd_', 'canary', 'acme', 'ada', body.clientId]) {
    for (const spelled of [
      text,
      Buffer.from(text).toString('base64').slice(0, -4),
      Buffer.from(text).toString('hex')
    ]) {
      t.notOk(spelled.length > 2 && dump.includes(spelled), spelled)
    }
  }
})

t.test('while KEY_ENCRYPTION_KEY is changed, a retry finds what the first try made, on whichever instance', async t => {
  const databaseUrl = await createDatabase(t)
  const site = { siteId: 'acme', db: openTestDatabase(t, databaseUrl) }
  const [old, next] = [randomBytes(32), randomBytes(32)]
  const instance = (...retryPeppers: Buffer[]) => ({
    hashing: new FairSemaphore({ permits: 1, maxWaitingPerKey: 10, maxWaiting: 10 }),
    now: Date.now,
    retryPeppers,
    secretPrefix: 'grantd_',
    macKeys: { create: () => ({ keyId: 'k', mac: randomBytes(32), digest: randomBytes(16) }) },
    onChanged: () => {},
    maxLifetimeDays: 730,
    maxTokenLifetimeSeconds: 900,
    maxPerSite: 100,
    scopesSupported: undefined,
    federatedIssuers: []
  })
  const phases = { before: instance(old), during: instance(next, old), after: instance(next) }
  const input = {
    name: 'billing',
    expiresAt: inDays(10),
    enabled: true,
    scopes: [],
    audiences: [],
    tokenLifetimeSeconds: null,
    dpopBound: false,
    mayIntrospect: false,
    mayIdle: false,
    selfRotation: false
  }
  for (const [first, second] of [
    ['before', 'during'],
    ['during', 'before'],
    ['during', 'after'],
    ['during', 'during']
  ] as const) {
    const request = { idempotencyKey: randomUUID(), context: CONTEXT, signal: new AbortController().signal }
    const made = await createRegistration(site, phases[first], input, request)
    t.same(await createRegistration(site, phases[second], input, request), made, `${first}, then ${second}`)
    await t.rejects(createRegistration(site, phases[second], { ...input, name: 'other' }, request), {
      code: 'idempotency_key_reused'
    })
    // At once, so that neither finds the other's answer before its own transaction.
    const twins = { ...request, idempotencyKey: randomUUID() }
    const [one, other] = await Promise.all([
      createRegistration(site, phases[first], input, twins),
      createRegistration(site, phases[second], input, twins)
    ])
    t.same(one, other, `${first} and ${second} at once`)
  }
  t.equal((await count(databaseUrl)).registrations, 8)
})

t.test('a retry of a rotation gets the same 201 with the same secret, and rotates once', async t => {
  const one = await startApp(t)
  const other = await startApp(t, { databaseUrl: one.databaseUrl })
  const { path, clientId } = await one.register()
  const headers = { 'idempotency-key': randomUUID(), 'if-match': '"1"' }
  const rotate = (grantd: Grantd, body?: unknown) =>
    grantd.asAdmin('POST', `${path}/rotate-secret`, { headers, ...(body !== undefined && { body }) })
  const answers = await Promise.all([one, other, one, other].map(grantd => rotate(grantd)))
  t.equal(answers[0]?.status, 201)
  t.equal(new Set(answers.map(answer => JSON.stringify(told(answer)))).size, 1)
  const first = answers[0]?.json()
  t.same(told(await rotate(other, { overlapSeconds: 86_400 })), told(await rotate(one)), 'the default, spelled out')
  t.equal((await rotate(one, { overlapSeconds: 1 })).status, 422)
  t.equal((await one.asAdmin('GET', path)).headers.etag, '"2"')
  t.equal((await one.exchange({ clientId, clientSecret: first.clientSecret })).status, 200)
  const created = await create(one, retryable(headers['idempotency-key']))
  t.equal(created.status, 422, 'the key of a rotation does not create')
  await one.asAdmin('DELETE', path)
  t.equal((await rotate(one)).status, 201, 'as created, also after a delete')
})
