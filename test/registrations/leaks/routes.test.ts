import { randomBytes } from 'node:crypto'
import t from 'tap'
import { loadMacKeys } from '../../../src/credentials/mac-keys.ts'
import { createClientSecret } from '../../../src/credentials/secret.ts'
import { Sealing } from '../../../src/crypto/key-encryption.ts'
import { Registry } from '../../../src/metrics/registry.ts'
import { Clock, startApp } from '../../fixtures/app/app.ts'
import { createDatabase, dumpTables, openTestDatabase, query } from '../../fixtures/app/database.ts'
import type { Answer, Grantd, Json } from '../../fixtures/app/grantd.ts'
import { keyPair } from '../../fixtures/app/public-key.ts'
import { DAY_MS } from '../../fixtures/app/registration.ts'
import { startWebhookReceiver } from '../../fixtures/peers/webhook-receiver.ts'
import { until } from '../../fixtures/run/until.ts'

const REPORTS = '/v1/secret-reports'
const LOOKUPS = '/v1/secret-lookups'
const URL = 'https://git.example.com/acme/infrastructure/blob/main/.env#L3'

function post(grantd: Grantd, body: unknown): Promise<Answer> {
  return grantd.send('POST', REPORTS, { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) })
}

/** Reports secrets as a stranger does. @returns the result of each */
async function report(grantd: Grantd, ...secrets: string[]): Promise<string[]> {
  const answer = await post(grantd, { secrets: secrets.map(secret => ({ secret })) })
  if (answer.status !== 200) throw new Error(answer.text)
  return answer.json().results.map(({ result }: Json) => result)
}

const rotate = async (grantd: Grantd, path: string, body = {}) =>
  (await grantd.asAdmin('POST', `${path}/rotate-secret`, { body })).json().clientSecret as string

// [SECRET-45]
t.test('a secret that is pasted into a report is dead on the next request to another instance (spec 46)', async t => {
  const one = await startApp(t)
  const other = await startApp(t, { databaseUrl: one.databaseUrl })
  const client = await one.register()
  for (const grantd of [one, other]) t.equal((await grantd.exchange(client)).status, 200)
  t.same(await report(one, client.clientSecret), ['stopped'])
  for (const grantd of [other, one]) t.equal((await grantd.exchange(client)).status, 401)
  t.match((await one.asAdmin('GET', client.path)).json(), {
    enabled: false,
    disabledReason: 'leaked',
    unclaimed: true,
    previousCredential: null
  })
  t.match((await one.asAdmin('GET', `${client.path}/diagnosis`)).json(), {
    wouldSucceed: false,
    reasons: [{ code: 'unclaimed' }, { code: 'disabled', detail: /leaked/ }]
  })
})

// [SECRET-46]
t.test('a leaked secret never comes back, also when an administrator only enables the registration', async t => {
  const grantd = await startApp(t)
  const client = await grantd.register()
  await report(grantd, client.clientSecret)
  const enabled = await grantd.asAdmin('PATCH', client.path, { body: { enabled: true } })
  t.match(enabled.json(), { enabled: true, disabledReason: null, unclaimed: true })
  t.equal((await grantd.exchange(client)).status, 401)
  const clientSecret = await rotate(grantd, client.path)
  t.match((await grantd.asAdmin('GET', client.path)).json(), { unclaimed: false })
  t.equal((await grantd.exchange({ ...client, clientSecret })).status, 200)
  t.equal((await grantd.exchange(client)).status, 401)
  t.same(await report(grantd, client.clientSecret), ['not_live'])
  t.equal((await grantd.exchange({ ...client, clientSecret })).status, 200, 'the new secret is not the leaked one')
})

t.test('the secret that nobody has, after a leak, is never the previous credential, whatever follows it', async t => {
  const issuer = 'https://cluster.example'
  const grantd = await startApp(t, { environment: { FEDERATED_ISSUERS: issuer } })
  for (const kind of [{}, { publicKey: keyPair().publicKey }, { federated: { issuer, subject: 'exporter' } }]) {
    const client = await grantd.register()
    await report(grantd, client.clientSecret)
    const rotated = await grantd.asAdmin('POST', `${client.path}/rotate-secret`, { body: kind })
    t.equal(rotated.status, 201)
    t.match(rotated.json(), { unclaimed: false, previousCredential: null })
    await grantd.asAdmin('PATCH', client.path, { body: { enabled: true } })
    t.equal((await grantd.exchange(client)).status, 401)
  }
})

for (const kind of ['secret', 'key'] as const) {
  t.test(`a report of a current secret leaves the previous ${kind} as it is`, async t => {
    const clock = new Clock()
    const grantd = await startApp(t, { now: clock.now })
    const client = await grantd.register({ enabled: false })
    if (kind === 'key') await rotate(grantd, client.path, { publicKey: keyPair().publicKey, overlapSeconds: 0 })
    const clientSecret = await rotate(grantd, client.path, { overlapSeconds: 7 * 86_400 })
    const { previousCredential } = (await grantd.asAdmin('GET', client.path)).json()
    t.equal(previousCredential.kind, kind)
    t.same(await report(grantd, clientSecret), ['stopped'])
    const [event] = (await grantd.asAdmin('GET', '/v1/sites/acme/audit-events?limit=1')).json().items
    t.match(event.changes, { credential: { to: null }, disabledReason: { from: null, to: 'leaked' } })
    t.notOk('previousCredentialExpiresAt' in event.changes || 'enabled' in event.changes)
    const enabled = await grantd.asAdmin('PATCH', client.path, { body: { enabled: true } })
    t.match(enabled.json(), { enabled: true, unclaimed: true, previousCredential })
    t.equal((await grantd.exchange({ ...client, clientSecret })).status, 401)
    if (kind === 'secret') t.equal((await grantd.exchange(client)).status, 200, 'the previous secret is healthy')
    t.same(await report(grantd, clientSecret), ['not_live'])
    const next = await rotate(grantd, client.path, { overlapSeconds: 0 })
    t.match((await grantd.asAdmin('GET', client.path)).json(), { unclaimed: false, previousCredential: null })
    if (kind === 'secret') t.equal((await grantd.exchange(client)).status, 401, 'an overlap of 0 ends it')
    t.equal((await grantd.exchange({ ...client, clientSecret: next })).status, 200)
    t.equal((await grantd.exchange({ ...client, clientSecret })).status, 401)
  })
}

t.test('a previous secret that leaked is retired, and the current one goes on (spec 46)', async t => {
  const grantd = await startApp(t)
  const client = await grantd.register()
  const clientSecret = await rotate(grantd, client.path)
  t.same(await report(grantd, client.clientSecret), ['stopped'])
  t.equal((await grantd.exchange(client)).status, 401)
  t.equal((await grantd.exchange({ ...client, clientSecret })).status, 200)
  t.match((await grantd.asAdmin('GET', client.path)).json(), { enabled: true, disabledReason: null, unclaimed: false })
  t.same(await report(grantd, client.clientSecret), ['not_live'])
  const later = await rotate(grantd, client.path, { overlapSeconds: 0 })
  t.same(await report(grantd, clientSecret), ['not_live'], 'a secret that a rotation has ended')
  t.equal((await grantd.exchange({ ...client, clientSecret: later })).status, 200)
})

t.test('each secret of a report has its own result, whatever the order', async t => {
  const grantd = await startApp(t)
  const [both, one, kept] = [await grantd.register(), await grantd.register({}, 'globex'), await grantd.register()]
  const current = await rotate(grantd, both.path)
  const junk = ['', 'hunter2', `${one.clientSecret}x`, one.clientSecret.toLowerCase(), createClientSecret('grantd_')]
  t.same(await report(grantd, ...junk, current, one.clientSecret, one.clientSecret, both.clientSecret), [
    ...junk.map(() => 'not_live'),
    ...['stopped', 'stopped', 'not_live', 'stopped']
  ])
  t.equal((await grantd.exchange(kept)).status, 200)
})

t.test('a secret whose registration is disabled or expired is stopped too, because it would come back', async t => {
  const clock = new Clock()
  const grantd = await startApp(t, { now: clock.now })
  const disabled = await grantd.register({
    enabled: false,
    expiresAt: new Date(clock.time + 400 * DAY_MS).toISOString()
  })
  const expired = await grantd.register({ expiresAt: new Date(clock.time + DAY_MS).toISOString() })
  clock.advance(2 * DAY_MS)
  t.same(await report(grantd, disabled.clientSecret, expired.clientSecret), ['stopped', 'stopped'])
  await grantd.asAdmin('PATCH', disabled.path, { body: { enabled: true } })
  const expiresAt = new Date(clock.time + DAY_MS).toISOString()
  await grantd.asAdmin('PATCH', expired.path, { body: { enabled: true, expiresAt } })
  for (const client of [disabled, expired]) t.equal((await grantd.exchange(client)).status, 401)
})

t.test('the Site gets a notice with the URL, at once, and an audit event by the report (spec 46)', async t => {
  const receiver = await startWebhookReceiver(t)
  const grantd = await startApp(t, {
    environment: { NOTICE_WEBHOOK_ALLOW: '127.0.0.1', NOTICE_INTERVAL_SECONDS: '3600' }
  })
  const receivers = '/v1/sites/acme/notice-receivers'
  await grantd.asAdmin('POST', receivers, { body: { kind: 'webhook', url: receiver.url, steps: [7] } })
  const client = await grantd.register({ name: 'billing' })
  const answer = await post(grantd, { secrets: [{ secret: client.clientSecret, url: URL, source: 'gitleaks' }] })
  t.equal(answer.headers['cache-control'], 'no-store')
  await until('it arrives', () => receiver.received.length === 1)
  const [{ event } = { event: undefined }] = receiver.received
  t.match(event, {
    type: 'com.grantd.registration.secret_leaked',
    data: { site: 'acme', clientId: client.clientId, name: 'billing', enabled: false, url: URL, reporter: 'gitleaks' }
  })
  t.match(event?.data, { credential: 'current', source: '127.0.0.1' })
  t.match((await grantd.asAdmin('GET', '/v1/sites/acme/notices')).json().items, [
    {
      type: 'secret_leaked',
      step: null,
      details: { credential: 'current', url: URL, reporter: 'gitleaks', source: '127.0.0.1' }
    }
  ])
  const [audited] = (await grantd.asAdmin('GET', '/v1/sites/acme/audit-events?limit=1')).json().items
  t.match(audited, {
    action: 'credential.leaked',
    subject: client.clientId,
    actor: 'secret report',
    actorIssuer: grantd.baseUrl,
    source: '127.0.0.1',
    changes: {
      enabled: { from: true, to: false },
      disabledReason: { from: null, to: 'leaked' },
      tokensValidFrom: { from: null, to: /:\d\d\.000Z$/ },
      url: { to: URL },
      reporter: { to: 'gitleaks' }
    }
  })
  for (const text of [JSON.stringify(event), JSON.stringify(audited), answer.text]) {
    t.notMatch(text, client.clientSecret)
  }
})

// [SECRET-47]
t.test('a report says nothing about whose a secret was, and reports of nothing change nothing', async t => {
  const grantd = await startApp(t)
  await grantd.register()
  const before = await dumpTables(grantd.databaseUrl)
  const answer = await post(grantd, { secrets: [{ secret: createClientSecret('grantd_') }, { secret: 'x' }] })
  t.same(answer.json(), { results: [{ result: 'not_live' }, { result: 'not_live' }] })
  t.same(await dumpTables(grantd.databaseUrl), before)
  const { clientSecret } = await grantd.register()
  const stopped = await post(grantd, { secrets: [{ secret: clientSecret }] })
  t.same(stopped.json(), { results: [{ result: 'stopped' }] })
})

t.test('of many reports of one secret at once exactly one stops it, and there is one notice', async t => {
  const one = await startApp(t)
  const other = await startApp(t, { databaseUrl: one.databaseUrl })
  const { clientSecret } = await one.register()
  const results = await Promise.all([one, other, one, other].map(grantd => report(grantd, clientSecret)))
  t.same(results.flat().sort(), ['not_live', 'not_live', 'not_live', 'stopped'])
  t.equal((await query(one.databaseUrl, 'select from notices')).length, 1)
})

// [LOAD-21]
t.test('a report of 100 secrets, one of them live, costs no hash', async t => {
  const metrics = new Registry()
  const grantd = await startApp(t, { metrics })
  const hashes = async () => {
    const metric = (await metrics.read()).find(({ name }) => name === 'grantd_argon2_total')
    return Object.values(metric?.samples ?? {}).reduce((sum, count) => sum + Number(count), 0)
  }
  const { clientSecret } = await grantd.register()
  const before = await hashes()
  const secrets = Array.from({ length: 99 }, () => createClientSecret('grantd_'))
  t.same(await report(grantd, ...secrets, clientSecret), [...secrets.map(() => 'not_live'), 'stopped'])
  t.equal(await hashes(), before)
})

t.test('a report is refused as a whole when it has a fault, with each fault', async t => {
  const grantd = await startApp(t)
  const { clientSecret } = await grantd.register()
  const secret = clientSecret
  const refused: [unknown, string][] = [
    [{}, '/secrets'],
    [{ secrets: [] }, '/secrets'],
    [{ secrets: Array.from({ length: 101 }, () => ({ secret })) }, '/secrets'],
    [{ secrets: [secret] }, '/secrets/0'],
    [{ secrets: [{}] }, '/secrets/0/secret'],
    [{ secrets: [{ secret: 'x'.repeat(201) }] }, '/secrets/0/secret'],
    [{ secrets: [{ secret, url: 'ftp://example.com/' }] }, '/secrets/0/url'],
    [{ secrets: [{ secret, url: 'https://example.com/ä' }] }, '/secrets/0/url'],
    [{ secrets: [{ secret, url: 'https://example.com/\n' }] }, '/secrets/0/url'],
    [{ secrets: [{ secret, url: 'javascript:alert(1)' }] }, '/secrets/0/url'],
    [{ secrets: [{ secret, url: 'http://user:pass@example.com/' }] }, '/secrets/0/url'],
    [{ secrets: [{ secret, url: 'https://user@example.com' }] }, '/secrets/0/url'],
    [{ secrets: [{ secret, url: 'https://a:@[::1]?x' }] }, '/secrets/0/url'],
    [{ secrets: [{ secret, url: 'https://example.com\\\\@example.org/' }] }, '/secrets/0/url'],
    [{ secrets: [{ secret, url: `https://example.com/${'x'.repeat(500)}` }] }, '/secrets/0/url'],
    [{ secrets: [{ secret, source: 'a\nb' }] }, '/secrets/0/source'],
    [{ secrets: [{ secret, clientId: 'x' }] }, '/secrets/0/clientId']
  ]
  for (const [body, pointer] of refused) {
    const answer = await post(grantd, body)
    t.equal(answer.status, 400, JSON.stringify(body).slice(0, 100))
    t.match(answer.json().errors, [{ pointer }], pointer)
  }
  const large = await post(grantd, { secrets: [{ secret: 'x'.repeat(70_000) }] })
  t.equal(large.status, 413)
  t.match(large.json().detail, '64 KiB')
  t.equal((await grantd.exchange({ ...(await grantd.register()), clientSecret })).status, 401)
})

t.test('a full report of 100 secrets with URLs fits', async t => {
  const grantd = await startApp(t)
  const secrets = Array.from({ length: 100 }, (_, index) => ({
    secret: createClientSecret('grantd_'),
    url: `${URL}?${'x'.repeat(200)}${index}`,
    source: 'a scanner'
  }))
  t.equal((await post(grantd, { secrets })).status, 200)
})

// [SECRET-48]
t.test('CORS stays off at the endpoints that are not for administrators', async t => {
  const origin = 'https://admin.example.com'
  const grantd = await startApp(t, { environment: { ADMIN_CORS_ORIGINS: origin } })
  const headers = { origin, 'access-control-request-method': 'POST' }
  const preflight = await grantd.send('OPTIONS', REPORTS, { headers })
  t.equal(preflight.status, 405)
  t.equal(preflight.headers['allow'], 'POST')
  t.equal(preflight.headers['access-control-allow-origin'], undefined)
  t.equal((await grantd.send('OPTIONS', LOOKUPS, { headers })).headers['access-control-allow-origin'], origin)
  const answer = await grantd.send('POST', REPORTS, {
    headers: { origin, 'content-type': 'application/json' },
    body: '{}'
  })
  t.equal(answer.status, 400)
  t.equal(answer.headers['access-control-allow-origin'], undefined)
})

t.test('a Global Administrator finds the registration of a secret, and nothing changes', async t => {
  const grantd = await startApp(t)
  const previous = await grantd.register({ name: 'exports' }, 'globex')
  const clientSecret = await rotate(grantd, previous.path)
  await grantd.register()
  const before = await dumpTables(grantd.databaseUrl)
  const secrets = [createClientSecret('grantd_'), clientSecret, 'junk', previous.clientSecret].map(secret => ({
    secret
  }))
  const answer = await grantd.asAdmin('POST', LOOKUPS, { body: { secrets } })
  t.match(answer.json().results, [
    { isFound: false },
    {
      isFound: true,
      credential: 'current',
      registration: { siteId: 'globex', clientId: previous.clientId, name: 'exports' }
    },
    { isFound: false },
    { credential: 'previous', registration: { clientId: previous.clientId } }
  ])
  t.same(await dumpTables(grantd.databaseUrl), before)
  for (const sites of [['acme'], ['acme', 'globex']]) {
    t.equal((await grantd.asAdmin('POST', LOOKUPS, { body: { secrets }, sites })).status, 403)
  }
})

t.test('after the loss of KEY_ENCRYPTION_KEY a secret is found from its next exchange on', async t => {
  const databaseUrl = await createDatabase(t)
  const load = () => loadMacKeys({ db: openTestDatabase(t, databaseUrl), sealing: new Sealing(randomBytes(32)) })
  const client = await (await startApp(t, { databaseUrl, macKeys: await load() })).register()
  const grantd = await startApp(t, { databaseUrl, macKeys: await load() })
  t.same(await report(grantd, client.clientSecret), ['not_live'], 'no instance can compute its digest')
  t.equal((await grantd.exchange(client)).status, 200)
  t.same(await report(grantd, client.clientSecret), ['stopped'])
  t.equal((await grantd.exchange(client)).status, 401)
})

t.test('the diagnosis of a registration whose secret was reported says what to do first', async t => {
  const grantd = await startApp(t)
  const { path, clientSecret } = await grantd.register()
  t.same((await post(grantd, { secrets: [{ secret: clientSecret }] })).json(), { results: [{ result: 'stopped' }] })
  const { reasons } = (await grantd.asAdmin('GET', `${path}/diagnosis`)).json()
  t.match(reasons, [
    { code: 'unclaimed', detail: 'There is no working secret. Send a claim ticket, or rotate.' },
    { code: 'disabled', detail: /First rotate, then set `enabled` to true\.$/ }
  ])
})
