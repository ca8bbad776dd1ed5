import { randomUUID } from 'node:crypto'
import t from 'tap'
import { Clock, startApp } from '../../fixtures/app/app.ts'
import { dumpTables, query } from '../../fixtures/app/database.ts'
import type { Answer, Grantd, Json } from '../../fixtures/app/grantd.ts'
import { keyPair } from '../../fixtures/app/public-key.ts'
import { answerBytes } from '../../fixtures/app/raw-http.ts'
import { COLLECTION, DAY_MS, inDays } from '../../fixtures/app/registration.ts'

const KEYED = '/v1/sites/acme/keyed-app-registrations'
const DEVICE_SYNC = `${KEYED}/device-sync`
const ISSUER = 'https://token.actions.githubusercontent.com'

interface Sent {
  path?: string
  headers?: Record<string, string>
}

const IN_90_DAYS = inDays(90)

/** The body of a PUT, with the same expiry each time. */
const body = (members: object = {}) => ({ name: 'Device sync', expiresAt: IN_90_DAYS, ...members })

function put(grantd: Grantd, body: unknown, { path = DEVICE_SYNC, headers = {} }: Sent = {}): Promise<Answer> {
  return grantd.asAdmin('PUT', path, { body, headers })
}

async function audited(grantd: Grantd): Promise<Json[]> {
  return (await grantd.asAdmin('GET', '/v1/sites/acme/audit-events?limit=200')).json().items
}

t.test('a PUT creates, and the same body again changes neither the version nor the audit (issue 16 §1)', async t => {
  const one = await startApp(t)
  const other = await startApp(t, { databaseUrl: one.databaseUrl })
  const declared = body({ name: '  Device sync ', scopes: ['devices:read'] })
  const created = await put(one, declared)
  t.equal(created.status, 201)
  const { clientId, clientSecret, ...registration } = created.json()
  t.match(registration, { key: 'device-sync', name: 'Device sync', scopes: ['devices:read'], enabled: true })
  t.equal(created.headers.location, `${COLLECTION}/${clientId}`)
  t.equal(created.headers.etag, '"1"')
  t.equal(created.headers['cache-control'], 'no-store')
  t.equal((await other.exchange({ clientId, clientSecret })).status, 200)
  const before = await audited(one)
  const again = await put(other, { ...declared, enabled: true, audiences: [] })
  t.equal(again.status, 200)
  t.equal(again.headers.etag, '"1"')
  t.notMatch(again.text, /clientSecret|grantd_/)
  t.same(await audited(one), before)
  for (const path of [DEVICE_SYNC, `${COLLECTION}/${clientId}`]) {
    const read = await other.asAdmin('GET', path)
    t.equal(read.headers.etag, '"1"')
    t.match(read.json(), { clientId, key: 'device-sync' })
  }
})

t.test('a PUT is the whole registration: absent members take their defaults, and it is one audit event', async t => {
  const grantd = await startApp(t)
  const full = { scopes: ['a'], audiences: ['devices'], mayIdle: true, selfRotation: true, enabled: true }
  const { clientId, clientSecret } = (await put(grantd, body(full))).json()
  const answer = await put(grantd, body({ name: 'renamed' }))
  t.equal(answer.status, 200)
  t.equal(answer.headers.etag, '"2"')
  const defaults = { scopes: [], audiences: [], mayIdle: false, selfRotation: false, enabled: true }
  t.match(answer.json(), { clientId, name: 'renamed', ...defaults })
  t.equal((await grantd.exchange({ clientId, clientSecret })).status, 200, 'the secret stays')
  const events = (await audited(grantd)).map(({ action }) => action)
  t.same(events, ['registration.changed', 'registration.created'])
})

t.test('If-None-Match: * creates only, and If-Match changes that version only (RFC 9110 §13.1)', async t => {
  const grantd = await startApp(t)
  for (const etag of ['"1"', '*']) {
    t.equal((await put(grantd, body(), { headers: { 'if-match': etag } })).status, 412, 'there is none to match')
  }
  t.equal((await put(grantd, body(), { headers: { 'if-none-match': '*' } })).status, 201)
  const refused = await put(grantd, body({ name: 'b' }), { headers: { 'if-none-match': '*' } })
  t.match(refused.json(), { status: 412, code: 'precondition_failed' })
  t.equal((await put(grantd, body({ name: 'b' }), { headers: { 'if-match': '"2"' } })).status, 412)
  t.equal((await put(grantd, body({ name: 'b' }), { headers: { 'if-match': '"1"' } })).headers.etag, '"2"')
  const other = await put(grantd, body(), { headers: { 'if-none-match': '"1"' } })
  t.match(other.json(), { status: 400, errors: [{ parameter: 'if-none-match' }] })
  t.equal((await grantd.asAdmin('DELETE', DEVICE_SYNC, { headers: { 'if-match': '"1"' } })).status, 412)
  t.equal((await grantd.asAdmin('DELETE', DEVICE_SYNC, { headers: { 'if-match': '"2"' } })).status, 204)
})

// [SECRET-62]
t.test('with a key or a federated subject no answer holds a secret, and a PUT never rotates', async t => {
  const grantd = await startApp(t, { environment: { FEDERATED_ISSUERS: ISSUER } })
  const [{ publicKey }, other] = [keyPair(), keyPair()]
  const credentials = {
    'with-key': { publicKey },
    'with-subject': { federated: { issuer: ISSUER, subject: 'repo:acme/x' } },
    'with-secret': {}
  }
  for (const [key, credential] of Object.entries(credentials)) {
    const path = `${KEYED}/${key}`
    const created = await put(grantd, body(credential), { path })
    t.equal(created.status, 201)
    t.equal('clientSecret' in created.json(), key === 'with-secret')
    const before = await grantd.asAdmin('GET', path)
    t.equal((await put(grantd, body(credential), { path })).status, 200)
    const others = Object.entries(credentials).filter(([name]) => name !== key)
    for (const [name, differing] of [...others, ['another key', { publicKey: other.publicKey }] as const]) {
      const refused = await put(grantd, body({ name: 'b', ...differing }), { path })
      t.match(refused.json(), { status: 409, code: 'credential_differs' }, `${key}: ${name}`)
      t.match(refused.json().detail, /A PUT never rotates/)
    }
    t.same((await grantd.asAdmin('GET', path)).json(), before.json())
  }
  // A credential that was rotated is the one to declare.
  const { clientId } = (await grantd.asAdmin('GET', `${KEYED}/with-key`)).json()
  await grantd.asAdmin('POST', `${COLLECTION}/${clientId}/rotate-secret`, { body: { publicKey: other.publicKey } })
  t.equal((await put(grantd, body({ publicKey }), { path: `${KEYED}/with-key` })).status, 409)
  t.equal((await put(grantd, body({ publicKey: other.publicKey }), { path: `${KEYED}/with-key` })).status, 200)
})

t.test('a subject stays declared when its issuer has left the configuration', async t => {
  const one = await startApp(t, { environment: { FEDERATED_ISSUERS: ISSUER } })
  const other = await startApp(t, { databaseUrl: one.databaseUrl })
  const federated = { issuer: ISSUER, subject: 'repo:acme/x' }
  await put(one, body({ federated }))
  t.equal((await put(other, body({ federated }))).status, 200)
  const elsewhere = await put(other, body({ federated }), { path: `${KEYED}/another` })
  t.match(elsewhere.json(), { status: 400, errors: [{ pointer: '/federated/issuer' }] })
})

t.test('with deliver "claim" only the 201 holds a ticket, and later PUTs make none', async t => {
  const grantd = await startApp(t)
  const created = await put(grantd, body({ deliver: 'claim' }))
  const { claim, clientId, ...rest } = created.json()
  t.match(claim.ticket, /^grantd_claim_/)
  t.equal(rest.clientSecret, undefined)
  const again = await put(grantd, body({ deliver: 'claim' }))
  t.equal(again.status, 200)
  t.notMatch(again.text, /grantd_claim_/)
  t.match(again.json(), { clientId, unclaimed: true })
  const claimed = await grantd.send('POST', '/v1/claims', { headers: { authorization: `Bearer ${claim.ticket}` } })
  t.equal(claimed.status, 201, 'the ticket is still open')
  const refused = await put(grantd, body({ deliver: 'claim', publicKey: keyPair().publicKey }))
  t.match(refused.json(), { status: 400, errors: [{ pointer: '/deliver' }] })
})

// [SECRET-61]
t.test('an old body does not shorten what somebody has renewed, unless allowShorter=true', async t => {
  const clock = new Clock()
  const grantd = await startApp(t, { now: clock.now })
  const old = { name: 'x', expiresAt: inDays(10, clock.time) }
  const { clientId } = (await put(grantd, old)).json()
  const renewed = inDays(100, clock.time)
  await grantd.asAdmin('PATCH', `${COLLECTION}/${clientId}`, { body: { expiresAt: renewed } })
  const refused = await put(grantd, old)
  t.match(refused.json(), { status: 409, code: 'would_shorten' })
  t.ok(refused.json().detail.includes(renewed))
  t.equal((await put(grantd, { ...old, name: '' })).status, 400, 'other faults come first')
  const shorter = await put(grantd, old, { path: `${DEVICE_SYNC}?allowShorter=true` })
  t.match(shorter.json(), { expiresAt: old.expiresAt })
  t.equal((await put(grantd, { ...old, expiresAt: renewed })).status, 200, 'later is always possible')
  clock.advance(20 * DAY_MS)
  t.match((await put(grantd, old)).json(), { code: 'would_shorten' }, 'also when the old expiry has passed')
  const passed = await put(grantd, old, { path: `${DEVICE_SYNC}?allowShorter=true` })
  t.match(passed.json(), { status: 400, errors: [{ pointer: '/expiresAt', code: 'in_the_past' }] })
  clock.advance(100 * DAY_MS)
  const expired = await put(grantd, { ...old, expiresAt: renewed })
  t.match(expired.json(), { state: 'expired' }, 'an expiry that stays is not judged again')
})

// [SECRET-63]
t.test('a PUT that does not mention enabled does not enable what somebody has disabled', async t => {
  const grantd = await startApp(t)
  const { clientId } = (await put(grantd, body())).json()
  await grantd.asAdmin('PATCH', `${COLLECTION}/${clientId}`, { body: { enabled: false } })
  const before = (await grantd.asAdmin('GET', DEVICE_SYNC)).json()
  const refused = await put(grantd, body({ name: 'b' }))
  t.match(refused.json(), { status: 409, code: 'would_enable' })
  t.same((await grantd.asAdmin('GET', DEVICE_SYNC)).json(), before)
  t.match((await put(grantd, body({ name: 'b', enabled: false }))).json(), { name: 'b', enabled: false })
  t.match((await put(grantd, body({ enabled: true }))).json(), { enabled: true })
  t.equal((await put(grantd, body())).status, 200)
})

// [SECRET-60]
t.test('of many PUTs at once on two instances one creates, and only its answer holds a secret', async t => {
  const one = await startApp(t)
  const other = await startApp(t, { databaseUrl: one.databaseUrl })
  const declared = body()
  const answers = await Promise.all(
    Array.from({ length: 12 }, (_, index) => put(index % 2 === 0 ? one : other, declared))
  )
  t.same(answers.map(({ status }) => status).sort(), [...Array.from({ length: 11 }, () => 200), 201])
  t.equal(answers.filter(({ text }) => text.includes('clientSecret')).length, 1)
  t.equal(new Set(answers.map(answer => answer.json().clientId)).size, 1)
  const created = answers.find(({ status }) => status === 201)
  t.equal((await one.exchange(created?.json())).status, 200)
  t.equal((await audited(one)).length, 1)
})

t.test('of many PUTs at once for the last free place of a Site one creates, and all succeed', async t => {
  const environment = { MAX_REGISTRATIONS_PER_SITE: '1' }
  const grantd = await startApp(t, { environment })
  const other = await startApp(t, { environment, databaseUrl: grantd.databaseUrl })
  const declared = body({ publicKey: keyPair().publicKey })
  for (let round = 0; round < 12; round++) {
    const answers = await Promise.all(
      Array.from({ length: 8 }, (_, index) => put(index % 2 === 0 ? grantd : other, declared))
    )
    t.same(answers.map(({ status }) => status).sort(), [...Array.from({ length: 7 }, () => 200), 201])
    if (round < 11) await grantd.asAdmin('DELETE', DEVICE_SYNC)
  }
  const full = await put(grantd, body(), { path: `${KEYED}/another` })
  t.match(full.json(), { status: 409, code: 'quota_exceeded' })
})

t.test('PUTs and DELETEs at once are answered as one after the other', async t => {
  const one = await startApp(t)
  const other = await startApp(t, { databaseUrl: one.databaseUrl })
  for (const credential of [{ publicKey: keyPair().publicKey }, {}, { publicKey: keyPair().publicKey }, {}]) {
    const declared = body(credential)
    const answers = await Promise.all(
      [one, other, one, other, one, other].flatMap(grantd => [
        put(grantd, declared),
        grantd.asAdmin('DELETE', DEVICE_SYNC)
      ])
    )
    t.ok(answers.every(({ status }) => [200, 201, 204, 404].includes(status)))
    const of = (status: number) => answers.filter(answer => answer.status === status).length
    const [{ count }] = (await query(one.databaseUrl, 'select count(*)::int from registrations')).map(Object)
    t.equal(of(201) - of(204), count, 'each deletion took what a creation made')
    await query(one.databaseUrl, 'delete from registrations')
  }
})

t.test('create takes a key too, and a taken one is 409 key_taken', async t => {
  const grantd = await startApp(t)
  const create = (members: object, headers = {}) => grantd.asAdmin('POST', COLLECTION, { body: body(members), headers })
  const headers = { 'idempotency-key': randomUUID() }
  const created = await create({ key: 'device-sync' }, headers)
  t.match(created.json(), { key: 'device-sync' })
  t.equal((await create({ key: 'device-sync' }, headers)).text, created.text, 'a retry gets its answer')
  t.match((await create({ key: 'device-sync' })).json(), { status: 409, code: 'key_taken' })
  const answers = await Promise.all(Array.from({ length: 6 }, () => create({ key: 'raced' })))
  t.same(answers.map(({ status }) => status).sort(), [201, 409, 409, 409, 409, 409])
  for (const key of ['', '-a', 'A', 'a b', 'a/b', 'a'.repeat(64), 'ä', null, 1]) {
    t.match((await create({ key })).json(), { status: 400, errors: [{ pointer: '/key' }] }, String(key))
  }
  for (let time = 0; time < 2; time++) t.equal((await create({})).json().key, null, 'any number has none')
  t.equal((await create({ key: `0${'._-'.repeat(20)}zz` })).status, 201)
  const patched = await grantd.asAdmin('PATCH', String(created.headers.location), { body: { key: 'b' } })
  t.match(patched.json(), { status: 400, errors: [{ pointer: '/key', code: 'unknown_member' }] }, 'a key never changes')
})

// [SITE-23]
t.test("a key is of one Site: another Site's registration is neither read, changed, deleted nor taken", async t => {
  const grantd = await startApp(t)
  const { clientId } = (await put(grantd, body())).json()
  const sites = ['globex']
  const theirs = '/v1/sites/globex/keyed-app-registrations/device-sync'
  const authorization = `Bearer ${await grantd.adminToken(sites)}`
  const bytes = (path: string) => answerBytes(grantd.baseUrl, 'GET', path, { authorization }, '')
  const unknown = await bytes('/v1/sites/globex/keyed-app-registrations/unknown')
  t.match(unknown, /^HTTP\/1\.1 404 /)
  for (const path of [theirs, DEVICE_SYNC, `${KEYED}/unknown`, `${KEYED}/Not-A-Key`])
    t.equal(await bytes(path), unknown)
  t.equal((await grantd.asAdmin('DELETE', theirs, { sites })).status, 404)
  const made = await grantd.asAdmin('PUT', theirs, { sites, body: body({ name: 'theirs' }) })
  t.equal(made.status, 201)
  t.not(made.json().clientId, clientId)
  t.match((await grantd.asAdmin('GET', DEVICE_SYNC)).json(), { clientId, name: 'Device sync' })
})

t.test('a deleted key is free for another registration, and the audit tells the two apart', async t => {
  const grantd = await startApp(t)
  const first = (await put(grantd, body())).json()
  t.equal((await grantd.asAdmin('DELETE', `${DEVICE_SYNC}?unusedFor=P7D`)).status, 409)
  t.equal((await grantd.asAdmin('DELETE', DEVICE_SYNC)).status, 204)
  for (const method of ['GET', 'DELETE']) t.equal((await grantd.asAdmin(method, DEVICE_SYNC)).status, 404)
  t.equal((await grantd.exchange(first)).status, 401)
  const second = (await put(grantd, body())).json()
  t.not(second.clientId, first.clientId)
  const told = (await audited(grantd)).map(({ action, subject, changes }) => ({ action, subject, key: changes.key }))
  t.same(told, [
    { action: 'registration.created', subject: second.clientId, key: { from: null, to: 'device-sync' } },
    { action: 'registration.deleted', subject: first.clientId, key: { from: 'device-sync', to: null } },
    { action: 'registration.created', subject: first.clientId, key: { from: null, to: 'device-sync' } }
  ])
})

t.test('a retry with the same Idempotency-Key gets the 201 with the same secret', async t => {
  const one = await startApp(t)
  const other = await startApp(t, { databaseUrl: one.databaseUrl })
  const headers = { 'idempotency-key': randomUUID(), 'if-none-match': '*' }
  const declared = body()
  const created = await put(one, declared, { headers })
  const retried = await put(other, declared, { headers })
  t.equal(retried.status, 201)
  t.equal(retried.text, created.text)
  t.equal(retried.headers.location, created.headers.location)
  t.match((await put(one, body({ name: 'b' }), { headers })).json(), { status: 422, code: 'idempotency_key_reused' })
  const change = { 'idempotency-key': randomUUID(), 'if-match': '"1"' }
  const changed = await put(one, body({ name: 'b' }), { headers: change })
  t.equal((await put(one, body({ name: 'b' }), { headers: change })).status, changed.status)
  t.equal((await one.asAdmin('GET', DEVICE_SYNC)).headers.etag, '"2"')
})

t.test('a dry run answers like the PUT, and stores nothing', async t => {
  const grantd = await startApp(t)
  const path = `${DEVICE_SYNC}?dryRun=true`
  const run = async (declared: object, headers = {}) => {
    const before = await dumpTables(grantd.databaseUrl)
    const answer = await put(grantd, declared, { path, headers: { 'idempotency-key': randomUUID(), ...headers } })
    t.same(await dumpTables(grantd.databaseUrl), before)
    t.notMatch(answer.text, /clientSecret|grantd_/)
    return answer
  }
  for (const deliver of ['secret', 'claim']) {
    const created = await run(body({ deliver }), { 'if-none-match': '*' })
    t.equal(created.status, 200)
    t.match(created.json(), { key: 'device-sync', name: 'Device sync' })
  }
  t.match((await run(body({ expiresAt: inDays(-1) }))).json(), { status: 400 })
  t.equal((await run(body(), { 'if-match': '"1"' })).status, 412)
  await put(grantd, body())
  const changed = await run(body({ name: 'b' }))
  t.equal(changed.headers.etag, '"2"')
  t.match(changed.json(), { name: 'b' })
  t.equal((await run(body())).headers.etag, '"1"')
  t.match((await run(body({ expiresAt: inDays(9) }))).json(), { code: 'would_shorten' })
  t.match((await grantd.asAdmin('GET', DEVICE_SYNC)).json(), { name: 'Device sync' })
})

t.test('one answer lists every fault of a PUT: of its key, its form and the rules', async t => {
  const grantd = await startApp(t)
  const faulty = { name: '', expiresAt: '2020-01-01T00:00:00Z', enabled: 'yes', clientId: 'k3v9x2m7q1w8z5t4r6y0' }
  const answer = await put(grantd, faulty, { path: `${KEYED}/Not%20a%20key` })
  t.equal(answer.status, 400)
  const places = answer.json().errors.map(({ pointer, parameter }: Json) => pointer ?? parameter)
  t.same(places.toSorted(), ['/clientId', '/enabled', '/expiresAt', '/name', 'key'].toSorted())
  for (const key of ['-x', '%00', 'a%2Fb', 'x'.repeat(64)]) {
    for (const declared of [body(), faulty]) {
      const { errors } = (await put(grantd, declared, { path: `${KEYED}/${key}` })).json()
      t.ok(
        errors.some(({ parameter }: Json) => parameter === 'key'),
        key
      )
    }
    for (const method of ['GET', 'DELETE']) t.equal((await grantd.asAdmin(method, `${KEYED}/${key}`)).status, 404)
  }
  await put(grantd, body())
  const changed = await put(grantd, { ...faulty, audiences: ['a', 'a'] })
  t.ok(changed.json().errors.length >= 5)
  t.match((await put(grantd, body({ key: 'device-sync' }))).json(), { errors: [{ pointer: '/key' }] })
})

t.test('a listing finds a registration by its key, in one Site and in all', async t => {
  const grantd = await startApp(t)
  await put(grantd, body())
  await put(grantd, body(), { path: `${KEYED}/another` })
  await put(grantd, body(), { path: '/v1/sites/globex/keyed-app-registrations/device-sync' })
  await grantd.register()
  const keys = async (path: string) => {
    const answer = await grantd.asAdmin('GET', path)
    return answer
      .json()
      .items.map(({ siteId = 'acme', key }: Json) => `${siteId} ${key}`)
      .sort()
  }
  t.same(await keys(`${COLLECTION}?key=device-sync`), ['acme device-sync'])
  t.same(await keys('/v1/app-registrations?key=device-sync'), ['acme device-sync', 'globex device-sync'])
  t.same(await keys(`${COLLECTION}?keyed=true`), ['acme another', 'acme device-sync'])
  t.same(await keys(`${COLLECTION}?keyed=false`), ['acme null'])
  const { nextCursor } = (await grantd.asAdmin('GET', `${COLLECTION}?keyed=true&limit=1`)).json()
  t.equal((await grantd.asAdmin('GET', `${COLLECTION}?keyed=false&limit=1&cursor=${nextCursor}`)).status, 400)
  t.equal((await grantd.asAdmin('GET', `${COLLECTION}?key=A`)).status, 400)
})
