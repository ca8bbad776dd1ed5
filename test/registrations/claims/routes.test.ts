import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { Clock, startApp } from '../../fixtures/app/app.ts'
import { dumpTables, query, withClient } from '../../fixtures/app/database.ts'
import type { Answer, Grantd, Json } from '../../fixtures/app/grantd.ts'
import { capturedLog } from '../../fixtures/app/log.ts'
import { keyPair } from '../../fixtures/app/public-key.ts'
import { answerBytes } from '../../fixtures/app/raw-http.ts'
import { COLLECTION, DAY_MS, inDays } from '../../fixtures/app/registration.ts'
import { startWebhookReceiver } from '../../fixtures/peers/webhook-receiver.ts'
import { until } from '../../fixtures/run/until.ts'

const CLAIMS = '/v1/claims'

function claim(grantd: Grantd, ticket: string, headers = {}): Promise<Answer> {
  return grantd.send('POST', CLAIMS, { headers: { authorization: `Bearer ${ticket}`, ...headers } })
}

/** Makes a ticket for a registration. @returns the answer's body */
async function ticketFor(grantd: Grantd, { path }: { path: string }, body?: Json): Promise<Json> {
  const answer = await grantd.asAdmin('POST', `${path}/claim`, { body })
  if (answer.status !== 201) throw new Error(answer.text)
  return answer.json()
}

/** Creates a registration that is handed over by a ticket. */
async function createForClaim(
  grantd: Grantd,
  members = {}
): Promise<{ path: string; registration: Json; ticket: string }> {
  const body = { name: 'handed over', expiresAt: inDays(30), scopes: ['a'], deliver: 'claim', ...members }
  const answer = await grantd.asAdmin('POST', COLLECTION, { body })
  if (answer.status !== 201) throw new Error(answer.text)
  const { claim, ...registration } = answer.json()
  return { path: `${COLLECTION}/${registration.clientId}`, registration, ticket: claim.ticket }
}

const OPEN_TICKETS = 'select from claim_tickets where client_id = $1 and used_at is null'

const read = async (grantd: Grantd, path: string) => (await grantd.asAdmin('GET', path)).json()

t.test('create with deliver "claim" returns a ticket instead of a secret, until the claim (spec 44)', async t => {
  const one = await startApp(t)
  const other = await startApp(t, { databaseUrl: one.databaseUrl })
  const { path, registration, ticket } = await createForClaim(one, { audiences: ['https://devices.example.com'] })
  t.match(ticket, /^grantd_claim_[0-9A-Za-z]{49}$/)
  t.equal(registration.clientSecret, undefined)
  t.match(registration, { unclaimed: true, previousCredential: null })
  t.match((await one.asAdmin('GET', `${path}/diagnosis`)).json(), {
    wouldSucceed: false,
    reasons: [{ code: 'unclaimed' }]
  })
  const guess = { clientId: registration.clientId, clientSecret: (await one.register()).clientSecret }
  t.equal((await one.exchange(guess)).status, 401, 'nothing is the secret')

  const answer = await claim(other, ticket)
  t.equal(answer.status, 201)
  t.equal(answer.headers['cache-control'], 'no-store')
  const { clientSecret, ...rest } = answer.json()
  t.same(rest, {
    clientId: registration.clientId,
    tokenEndpoint: `${other.baseUrl}/oauth/token`,
    scopes: ['a'],
    audiences: ['https://devices.example.com'],
    expiresAt: registration.expiresAt
  })
  for (const grantd of [one, other]) {
    t.equal((await grantd.exchange({ clientId: registration.clientId, clientSecret })).status, 200)
  }
  t.match(await read(one, path), { unclaimed: false, previousCredential: null, expiresAt: registration.expiresAt })
})

t.test('a claim is a rotation: it overlaps, is audited with the actor "claim", and moves nothing else', async t => {
  const clock = new Clock()
  const grantd = await startApp(t, { now: clock.now })
  const old = await grantd.register({ expiresAt: new Date(clock.time + 30 * DAY_MS).toISOString() })
  t.equal((await grantd.exchange(old)).status, 200)
  const before = await read(grantd, old.path)
  const { ticket, expiresAt } = await ticketFor(grantd, old, { expiresInSeconds: 300, overlapSeconds: 60 })
  t.equal(expiresAt, new Date(clock.time + 300_000).toISOString())
  t.same(await read(grantd, old.path), before, 'a ticket changes nothing')
  clock.advance(1_000)
  const { clientSecret } = (await claim(grantd, ticket)).json()
  for (const secret of [old, { ...old, clientSecret }]) t.equal((await grantd.exchange(secret)).status, 200)
  clock.advance(60_000)
  t.equal((await grantd.exchange(old)).status, 401)
  t.equal((await read(grantd, old.path)).expiresAt, before.expiresAt)
  const { items } = (await grantd.asAdmin('GET', '/v1/sites/acme/audit-events?limit=2')).json()
  t.match(items, [
    { action: 'credential.rotated', actor: 'claim', actorIssuer: grantd.baseUrl, source: '127.0.0.1' },
    { action: 'claim.created', actor: 'ada' }
  ])
  t.notMatch(JSON.stringify(items), ticket)
})

// [SECRET-40]
t.test('a ticket works once: a second use is 410, and the Site gets one notice of it (spec 44)', async t => {
  const receiver = await startWebhookReceiver(t)
  const grantd = await startApp(t, {
    environment: { NOTICE_WEBHOOK_ALLOW: '127.0.0.1', NOTICE_INTERVAL_SECONDS: '3600' }
  })
  await grantd.asAdmin('POST', '/v1/sites/acme/notice-receivers', { body: { kind: 'webhook', url: receiver.url } })
  const { ticket, registration } = await createForClaim(grantd)
  const { clientSecret } = (await claim(grantd, ticket)).json()
  for (let time = 0; time < 3; time++) {
    const again = await claim(grantd, ticket)
    t.equal(again.status, 410)
    t.equal(again.json().code, 'claimed')
  }
  await until('it arrives', () => receiver.received.length === 1)
  t.match(receiver.received[0]?.event, {
    type: 'com.grantd.registration.claim_reused',
    data: { clientId: registration.clientId, source: '127.0.0.1' }
  })
  const { items } = (await grantd.asAdmin('GET', '/v1/sites/acme/notices')).json()
  t.equal(items.length, 1)
  t.match(items, [{ type: 'claim_reused', details: { source: '127.0.0.1' } }])
  t.equal((await grantd.exchange({ clientId: registration.clientId, clientSecret })).status, 200)
})

// [SECRET-41]
t.test('an unknown, an expired, a replaced and a deleted ticket get the same 401, byte for byte', async t => {
  const clock = new Clock()
  const grantd = await startApp(t, { now: clock.now })
  const expiresAt = new Date(clock.time + 30 * DAY_MS).toISOString()
  const { ticket: unknown } = await createForClaim(await startApp(t))
  const { ticket: replaced, path } = await createForClaim(grantd, { expiresAt })
  const { ticket: expired } = await ticketFor(grantd, { path }, { expiresInSeconds: 300 })
  const { ticket: deleted, path: gone } = await createForClaim(grantd, { expiresAt })
  await grantd.asAdmin('DELETE', gone)
  clock.advance(300_000)
  const before = await dumpTables(grantd.databaseUrl)
  const junk = [
    'junk',
    `${unknown}x`,
    unknown.replace('claim', 'clain'),
    (await grantd.register({ expiresAt })).clientSecret
  ]
  const answers = []
  for (const ticket of [unknown, replaced, expired, deleted, ...junk]) {
    answers.push(await answerBytes(grantd.baseUrl, 'POST', CLAIMS, { authorization: `Bearer ${ticket}` }, ''))
  }
  t.match(answers[0], /^HTTP\/1\.1 401 /)
  t.match(answers[0], /www-authenticate: Bearer error="invalid_token"\r\n/i)
  t.equal(new Set(answers).size, 1)
  const { claim_tickets: tickets } = await dumpTables(grantd.databaseUrl)
  t.same(tickets, before['claim_tickets'])
})

t.test('without a ticket the challenge has no error code (RFC 6750 §3.1)', async t => {
  const grantd = await startApp(t)
  for (const headers of [{}, { authorization: 'Basic eDp5' }]) {
    const answer = await grantd.send('POST', CLAIMS, { headers })
    t.equal(answer.status, 401)
    t.equal(answer.headers['www-authenticate'], 'Bearer')
  }
})

// [SECRET-42]
t.test('a link preview uses nothing up: GET, HEAD and OPTIONS are 405 at every URL of a claim', async t => {
  const origin = 'https://admin.example.com'
  const grantd = await startApp(t, { environment: { ADMIN_CORS_ORIGINS: origin } })
  const { ticket } = await createForClaim(grantd)
  const headers = { authorization: `Bearer ${ticket}`, origin, 'access-control-request-method': 'POST' }
  for (const method of ['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE']) {
    for (const path of [CLAIMS, `${CLAIMS}?ticket=${ticket}`]) {
      const answer = await grantd.send(method, path, { headers })
      t.equal(answer.status, 405, `${method} ${path}`)
      t.equal(answer.headers['allow'], 'POST')
      t.equal(answer.headers['access-control-allow-origin'], undefined, 'CORS stays off')
    }
  }
  t.equal((await grantd.send('GET', `${CLAIMS}/${ticket}`)).status, 404)
  t.equal((await grantd.send('POST', `${CLAIMS}?ticket=${ticket}`)).status, 400, 'a ticket in the URL is none')
  t.equal((await grantd.send('POST', `${CLAIMS}?ticket=${ticket}`, { headers })).status, 400)
  const members = { headers: { ...headers, 'content-type': 'application/json' }, body: JSON.stringify({ ticket }) }
  t.equal((await grantd.send('POST', CLAIMS, members)).status, 400)
  t.equal((await claim(grantd, ticket)).status, 201, 'and the ticket is still good')
})

// [SECRET-43]
t.test('of 20 claims at once over two instances exactly one is 201, and the others are 410', async t => {
  const one = await startApp(t)
  const other = await startApp(t, { databaseUrl: one.databaseUrl })
  const { ticket, registration } = await createForClaim(one)
  const answers = await Promise.all(Array.from({ length: 20 }, (_, index) => claim(index % 2 ? one : other, ticket)))
  const good = answers.filter(({ status }) => status === 201)
  t.equal(good.length, 1)
  t.same(new Set(answers.map(({ status }) => status)), new Set([201, 410]))
  const { clientSecret } = good[0]?.json() ?? {}
  t.equal((await one.exchange({ clientId: registration.clientId, clientSecret })).status, 200)
  t.equal((await query(one.databaseUrl, 'select from notices')).length, 1)
})

t.test('a retry with the same Idempotency-Key and ticket gets the same secret for 10 minutes', async t => {
  const clock = new Clock()
  const grantd = await startApp(t, { now: clock.now })
  const expiresAt = new Date(clock.time + 30 * DAY_MS).toISOString()
  const { ticket } = await createForClaim(grantd, { expiresAt })
  const headers = { 'idempotency-key': randomUUID() }
  const [first, second] = await Promise.all([claim(grantd, ticket, headers), claim(grantd, ticket, headers)])
  t.same([first?.status, second?.status], [201, 201])
  t.equal(second?.text, first?.text)
  clock.advance(9 * 60_000)
  t.equal((await claim(grantd, ticket, headers)).text, first?.text)
  t.equal(
    (await claim(grantd, ticket, { 'idempotency-key': randomUUID() })).status,
    410,
    'another key is another claim'
  )
  const other = await createForClaim(grantd, { expiresAt })
  t.equal((await claim(grantd, other.ticket, headers)).status, 201, 'and so is another ticket with this key')
  clock.advance(60_000)
  t.equal((await claim(grantd, ticket, headers)).status, 410)
  t.equal((await claim(grantd, ticket, { 'idempotency-key': 'short' })).status, 400)
})

t.test('a claim that is refused because of the state of the registration keeps its ticket (spec 44)', async t => {
  const clock = new Clock()
  const grantd = await startApp(t, { now: clock.now })
  const soon = new Date(clock.time + 60_000).toISOString()
  const { ticket, path } = await createForClaim(grantd, { expiresAt: soon, enabled: false })
  const refused = async (code: string) => {
    const answer = await claim(grantd, ticket)
    t.equal(answer.status, 409)
    t.equal(answer.json().code, code)
  }
  await refused('disabled')
  await grantd.asAdmin('PATCH', path, { body: { enabled: true } })
  clock.advance(60_000)
  await refused('expired')
  const later = new Date(clock.time + 30 * DAY_MS).toISOString()
  await grantd.asAdmin('PATCH', path, { body: { expiresAt: later } })
  t.equal((await claim(grantd, ticket)).status, 201)
})

t.test('a rotation by an administrator gives an unclaimed registration its secret, and ends the ticket', async t => {
  const grantd = await startApp(t)
  const { ticket, path, registration } = await createForClaim(grantd)
  const rotated = (await grantd.asAdmin('POST', `${path}/rotate-secret`)).json()
  t.match(rotated, { unclaimed: false, previousCredential: null })
  t.equal((await grantd.exchange({ ...registration, ...rotated })).status, 200)
  const refused = await claim(grantd, ticket)
  t.match({ status: refused.status, ...refused.json() }, { status: 401, code: 'unauthorized' })
  t.equal((await grantd.exchange({ ...registration, ...rotated })).status, 200)
})

t.test('a rotation to a credential of any kind ends an open ticket, and a used one is still known as used', async t => {
  const issuer = 'https://cluster.example'
  const grantd = await startApp(t, { environment: { FEDERATED_ISSUERS: issuer } })
  const kinds = [{}, { publicKey: keyPair().publicKey }, { federated: { issuer, subject: 'exporter' } }]
  for (const kind of kinds) {
    const client = await grantd.register()
    const used = await ticketFor(grantd, client)
    t.equal((await claim(grantd, used.ticket)).status, 201)
    const open = await ticketFor(grantd, client)
    const refused = await grantd.asAdmin('POST', `${client.path}/rotate-secret`, { body: { overlapSeconds: -1 } })
    t.equal(refused.status, 400)
    t.equal((await query(grantd.databaseUrl, OPEN_TICKETS, [client.clientId])).length, 1, 'a refused one ends nothing')
    t.equal((await grantd.asAdmin('POST', `${client.path}/rotate-secret`, { body: kind })).status, 201)
    t.equal((await claim(grantd, open.ticket)).status, 401)
    t.equal((await claim(grantd, used.ticket)).status, 410)
  }
})

t.test('after a leak a ticket hands over the next secret, and the leaked one stays refused', async t => {
  const grantd = await startApp(t)
  const client = await grantd.register()
  const report = { secrets: [{ secret: client.clientSecret }] }
  await grantd.send('POST', '/v1/secret-reports', {
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(report)
  })
  const { ticket } = await ticketFor(grantd, client)
  t.equal((await claim(grantd, ticket)).json().code, 'disabled')
  await grantd.asAdmin('PATCH', client.path, { body: { enabled: true } })
  const { clientSecret } = (await claim(grantd, ticket)).json()
  t.equal((await grantd.exchange({ ...client, clientSecret })).status, 200)
  t.equal((await grantd.exchange(client)).status, 401)
  t.equal((await read(grantd, client.path)).previousCredential, null)
})

t.test('a used ticket is remembered until ten later ones were used', async t => {
  const grantd = await startApp(t)
  const client = await grantd.register()
  const used: string[] = []
  for (let time = 0; time < 12; time++) {
    const { ticket } = await ticketFor(grantd, client, { overlapSeconds: 0 })
    t.equal((await claim(grantd, ticket)).status, 201)
    used.push(ticket)
  }
  const statuses = []
  for (const ticket of used) statuses.push((await claim(grantd, ticket)).status)
  t.same(statuses.slice(0, 1), [401])
  t.same(
    statuses.slice(2),
    Array.from({ length: 10 }, () => 410)
  )
  await ticketFor(grantd, client)
  t.equal(
    (await query(grantd.databaseUrl, 'select from claim_tickets')).length,
    11,
    'ten that were used, and the open one'
  )
})

// [LOAD-25]
t.test('a flood of claims while their look-ups hang stops neither tokens nor administrators', async t => {
  const { log, lines } = capturedLog()
  const grantd = await startApp(t, { log })
  const registration = await grantd.register()
  const { ticket } = await ticketFor(grantd, registration)
  await withClient(grantd.databaseUrl, async blocker => {
    await blocker.query('begin')
    await blocker.query('lock table claim_tickets in access exclusive mode')
    const flood = Array.from({ length: 200 }, () => claim(grantd, ticket))
    const turnedAway = await Promise.race(flood)
    t.equal(turnedAway.status, 503)
    t.equal(turnedAway.headers['retry-after'], '1')
    t.equal((await grantd.exchange(registration)).status, 200)
    t.equal((await grantd.asAdmin('GET', registration.path)).status, 200)
    await blocker.query('rollback')
    const statuses = (await Promise.all(flood)).map(({ status }) => status)
    t.ok(
      statuses.every(status => [201, 410, 503].includes(status)),
      statuses.join()
    )
    t.ok(statuses.filter(status => status === 201).length <= 1)
  })
  t.match(lines.join(''), '"reason":"public_requests_overloaded"')
})

// [SECRET-44]
t.test('no ticket and no secret waits anywhere: only digests and hashes are stored', async t => {
  const grantd = await startApp(t)
  const { ticket } = await createForClaim(grantd)
  const stored = () => dumpTables(grantd.databaseUrl).then(tables => JSON.stringify(tables))
  t.notMatch(await stored(), ticket.slice(13))
  const { clientSecret } = (await claim(grantd, ticket, { 'idempotency-key': randomUUID() })).json()
  for (const text of [ticket.slice(13), clientSecret.slice(7)]) t.notMatch(await stored(), text)
})

t.test('a ticket of another Site, of nothing, or with a fault is not made', async (t: Test) => {
  const grantd = await startApp(t)
  const { path } = await grantd.register()
  const foreign = await grantd.asAdmin('POST', `${path.replace('acme', 'globex')}/claim`, { sites: ['globex'] })
  t.equal(foreign.status, 404)
  for (const [body, pointer] of [
    [{ expiresInSeconds: 299 }, '/expiresInSeconds'],
    [{ expiresInSeconds: 604_801 }, '/expiresInSeconds'],
    [{ expiresInSeconds: '300' }, '/expiresInSeconds'],
    [{ overlapSeconds: -1 }, '/overlapSeconds'],
    [{ overlapSeconds: 2_592_001 }, '/overlapSeconds'],
    [{ ticket: 'mine' }, '/ticket']
  ] as const) {
    const answer = await grantd.asAdmin('POST', `${path}/claim`, { body })
    t.match(answer.json(), { status: 400, errors: [{ pointer }] })
  }
  t.equal((await grantd.asAdmin('POST', `${path}/claim`, { headers: { 'if-match': '"7"' } })).status, 412)
  const federated = { issuer: 'https://ci.example.com', subject: 'a' }
  const both = await grantd.asAdmin('POST', COLLECTION, {
    body: { name: 'x', expiresAt: inDays(3), deliver: 'claim', federated }
  })
  t.equal(both.status, 400)
  t.ok(both.json().errors.some(({ pointer }: Json) => pointer === '/deliver'))
  t.same(await query(grantd.databaseUrl, 'select from claim_tickets'), [])
})
