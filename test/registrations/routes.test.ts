import t from 'tap'
import { createClientSecret } from '../../src/credentials/secret.ts'
import { Clock, startApp } from '../fixtures/app/app.ts'
import { query } from '../fixtures/app/database.ts'
import type { Grantd } from '../fixtures/app/grantd.ts'
import { COLLECTION, DAY_MS, inDays } from '../fixtures/app/registration.ts'

t.test('create answers 201 with the whole registration, its secret, Location, ETag and no-store', async t => {
  const clock = new Clock()
  const grantd = await startApp(t, { now: clock.now })
  const { answer, path } = await grantd.register({
    name: '  Cafe\u0301  ',
    expiresAt: '2026-12-23T10:00:00+01:00',
    scopes: ['devices:read', 'devices:write'],
    audiences: ['devices', 'https://Devices.example:8443/api?v=1']
  })
  const { clientId, clientSecret, ...rest } = answer.json()
  t.match(clientId, /^[a-z0-9]{20}$/)
  t.match(clientSecret, /^grantd_[0-9A-Za-z]{49}$/)
  t.same(rest, {
    name: 'Caf\u00e9',
    expiresAt: '2026-12-23T09:00:00.000Z',
    enabled: true,
    scopes: ['devices:read', 'devices:write'],
    audiences: ['devices', 'https://Devices.example:8443/api?v=1'],
    tokenLifetimeSeconds: null,
    dpopBound: false,
    mayIntrospect: false,
    tokensValidFrom: null,
    selfRotation: false,
    mayIdle: false,
    registeredAt: '2026-11-23T09:00:00.000Z',
    lastUsedAt: null,
    disabledReason: null,
    unclaimed: false,
    key: null,
    exchangeCount: 0,
    credential: { kind: 'secret', createdAt: '2026-11-23T09:00:00.000Z', lastUsedAt: null },
    previousCredential: null,
    expiresInDays: 30,
    state: 'expiring_30d'
  })
  t.equal(answer.headers.location, path)
  t.equal(answer.headers.etag, '"1"')
  t.equal(answer.headers['cache-control'], 'no-store')
})

// [INPUT-16]
t.test('the secret is in the answer of create only, and not in the database', async t => {
  const grantd = await startApp(t)
  const { clientSecret, path } = await grantd.register()
  for (const answer of [
    await grantd.asAdmin('GET', path),
    await grantd.asAdmin('GET', COLLECTION),
    await grantd.asAdmin('GET', '/v1/app-registrations'),
    await grantd.asAdmin('PATCH', path, { body: { name: 'other' } })
  ]) {
    t.equal(answer.status, 200)
    t.notMatch(answer.text, /clientSecret|grantd_|argon2/)
  }
  const rows = JSON.stringify(await query(grantd.databaseUrl, 'select * from registrations'))
  t.notOk(rows.includes(clientSecret.slice(7, 30)))
  t.match(rows, /\$argon2id\$v=19\$m=19456,t=2,p=1\$/)
})

t.test('a registration works at the token endpoint on the very next request, on every instance', async t => {
  const one = await startApp(t)
  const other = await startApp(t, { databaseUrl: one.databaseUrl })
  const credentials = await one.register()
  t.equal((await other.exchange(credentials)).status, 200)
  t.equal((await one.exchange(credentials)).status, 200)
})

t.test('disabling and enabling take effect on the next request, on every instance', async t => {
  const one = await startApp(t)
  const other = await startApp(t, { databaseUrl: one.databaseUrl })
  const registration = await one.register()
  t.equal((await other.exchange(registration)).status, 200, 'warm on the other instance')
  t.match((await one.asAdmin('PATCH', registration.path, { body: { enabled: false } })).json(), { enabled: false })
  t.equal((await other.exchange(registration)).status, 401)
  t.match((await other.asAdmin('PATCH', registration.path, { body: { enabled: true } })).json(), { enabled: true })
  t.equal((await one.exchange(registration)).status, 200)
})

t.test('renewal keeps client id and secret and works on the next exchange, before and after expiry', async t => {
  const clock = new Clock()
  const grantd = await startApp(t, { now: clock.now })
  const registration = await grantd.register({ expiresAt: inDays(10, clock.time) })
  const before = (await grantd.asAdmin('GET', registration.path)).json()
  clock.advance(10 * DAY_MS)
  t.equal((await grantd.exchange(registration)).status, 401, 'refused from its expiry on')
  t.match((await grantd.asAdmin('GET', registration.path)).json(), { state: 'expired', expiresInDays: 0 })
  const expiresAt = inDays(90, clock.time)
  const renewed = await grantd.asAdmin('PATCH', registration.path, { body: { expiresAt } })
  t.same(renewed.json(), { ...before, expiresAt, expiresInDays: 90, state: 'active' }, 'nothing else changes')
  t.equal((await grantd.exchange(registration)).status, 200)
})

t.test('create and renewal require an expiry in the future and within the maximum lifetime', async t => {
  const grantd = await startApp(t, { environment: { MAX_REGISTRATION_LIFETIME_DAYS: '100' } })
  const { path } = await grantd.register({ expiresAt: inDays(50) })
  for (const [expiresAt, code] of [
    [inDays(101), 'beyond_lifetime_limit'],
    [inDays(-1), 'in_the_past'],
    ['2027-02-30T00:00:00Z', 'invalid_value'],
    ['2027-01-01', 'invalid_value'],
    ['2027-01-01T00:00:00', 'invalid_value'],
    ['', 'invalid_value'],
    [1_900_000_000, 'wrong_type'],
    [null, 'wrong_type']
  ] as const) {
    for (const answer of [
      await grantd.asAdmin('POST', COLLECTION, { body: { name: 'x', expiresAt } }),
      await grantd.asAdmin('PATCH', path, { body: { expiresAt } })
    ]) {
      t.equal(answer.status, 400)
      t.match(answer.json(), { code: 'invalid_request', errors: [{ pointer: '/expiresAt', code }] }, String(expiresAt))
    }
  }
  const beyond = await grantd.asAdmin('PATCH', path, { body: { expiresAt: inDays(101) } })
  t.match(beyond.json().errors[0].detail, /100 days/, 'the limit is named')
  const missing = await grantd.asAdmin('POST', COLLECTION, { body: { name: 'x' } })
  t.match(missing.json(), { errors: [{ pointer: '/expiresAt', code: 'required' }] })
})

t.test('an expired registration can be renamed with its old expiry in the same body', async t => {
  const clock = new Clock()
  const grantd = await startApp(t, { now: clock.now })
  const expiresAt = inDays(1, clock.time)
  const { path } = await grantd.register({ expiresAt })
  clock.advance(2 * DAY_MS)
  t.equal((await grantd.asAdmin('PATCH', path, { body: { name: 'renamed', expiresAt } })).status, 200)
})

t.test('after a delete the credentials are refused from the next request on', async t => {
  const one = await startApp(t)
  const other = await startApp(t, { databaseUrl: one.databaseUrl })
  const registration = await one.register()
  t.equal((await other.exchange(registration)).status, 200, 'warm')
  const gone = await one.asAdmin('DELETE', registration.path)
  t.equal(gone.status, 204)
  t.equal(gone.text, '')
  t.equal((await other.exchange(registration)).status, 401)
  t.equal((await one.asAdmin('GET', registration.path)).status, 404)
  t.equal((await one.asAdmin('DELETE', registration.path)).status, 404)
})

t.test("another Site's registration, an unknown and a deleted one give the same 404, byte for byte", async t => {
  const grantd = await startApp(t)
  const foreign = await grantd.register({}, 'umbrella')
  const deleted = await grantd.register()
  await grantd.asAdmin('DELETE', deleted.path)
  const sites = ['acme']
  const paths = [
    `${COLLECTION}/${foreign.clientId}`,
    foreign.path,
    deleted.path,
    `${COLLECTION}/00000000000000000000`,
    `${COLLECTION}/not-an-id`,
    `${COLLECTION}/%00`,
    `${COLLECTION}/${'x'.repeat(300)}`,
    `/v1/sites/nobody/app-registrations/${foreign.clientId}`,
    `/v1/sites/%2e%2e/app-registrations/${foreign.clientId}`
  ]
  for (const [method, body] of [
    ['GET', undefined],
    ['PATCH', { name: 'mine' }],
    ['DELETE', undefined]
  ] as const) {
    const answers = await Promise.all(paths.map(path => grantd.asAdmin(method, path, { body, sites })))
    for (const [index, { status, text, headers }] of answers.entries()) {
      t.equal(status, 404, `${method} ${paths[index]}`)
      t.equal(text, answers[0]?.text)
      t.same({ ...headers, date: '' }, { ...answers[0]?.headers, date: '' })
    }
  }
  t.equal((await grantd.exchange(foreign)).status, 200, 'and nothing happened to it')
})

t.test(
  'a change with a stale If-Match is refused with 412, one without If-Match is allowed (RFC 9110 §13.1.1)',
  async t => {
    const grantd = await startApp(t)
    const { path } = await grantd.register()
    const patch = (name: string, ifMatch?: string) =>
      grantd.asAdmin('PATCH', path, {
        body: { name },
        ...(ifMatch !== undefined && { headers: { 'if-match': ifMatch } })
      })
    t.equal((await grantd.asAdmin('GET', path)).headers.etag, '"1"')
    const first = await patch('a', '"1"')
    t.equal(first.headers.etag, '"2"')
    for (const stale of ['"1"', 'W/"1"', 'w/"2"', 'W/2', '2', '""', '"3", "4"']) {
      const refused = await patch('b', stale)
      t.equal(refused.status, 412, stale)
      t.equal(refused.json().code, 'precondition_failed')
      t.equal((await grantd.asAdmin('DELETE', path, { headers: { 'if-match': stale } })).status, 412)
    }
    t.equal((await patch('c', '"7", "2"')).status, 200)
    t.equal((await patch('d', '*')).status, 200)
    t.equal((await patch('e')).headers.etag, '"5"')
    t.equal((await patch('e')).headers.etag, '"5"', 'a change of nothing is none')
    t.equal((await grantd.asAdmin('DELETE', path, { headers: { 'if-match': '"5"' } })).status, 204)
  }
)

t.test('a weak tag that a compressing proxy made of the ETag matches its version', async t => {
  const grantd = await startApp(t)
  const { path } = await grantd.register()
  const send = (method: string, ifMatch: string, body?: unknown) =>
    grantd.asAdmin(method, path, { headers: { 'if-match': ifMatch }, ...(body !== undefined && { body }) })
  t.equal((await send('PATCH', 'W/"0"', { name: 'a' })).status, 412)
  t.equal((await send('PATCH', 'W/"1"', { name: 'a' })).status, 200)
  t.equal((await send('PATCH', 'W/"9", W/"2"', { name: 'b' })).status, 200)
  t.equal((await send('DELETE', 'W/"2"')).status, 412)
  t.equal((await send('DELETE', 'W/"3"')).status, 204)
})

t.test('two years from now are within the default maximum lifetime, also over a leap day', async t => {
  const now = Date.parse('2026-11-27T09:00:00.000Z')
  const grantd = await startApp(t, { now: () => now })
  const body = (expiresAt: string) => ({ name: 'x', expiresAt })
  t.equal((await grantd.asAdmin('POST', COLLECTION, { body: body('2028-11-27T09:00:00.000Z') })).status, 201)
  const later = await grantd.asAdmin('POST', COLLECTION, { body: body('2028-11-27T09:00:00.001Z') })
  t.match(later.json(), { status: 400, errors: [{ pointer: '/expiresAt', code: 'beyond_lifetime_limit' }] })
})

t.test('of several changes at once with the same If-Match, exactly one succeeds', async t => {
  const grantd = await startApp(t)
  const { path } = await grantd.register()
  const answers = await Promise.all(
    Array.from({ length: 10 }, (_, index) =>
      grantd.asAdmin('PATCH', path, { body: { name: `name ${index}` }, headers: { 'if-match': '"1"' } })
    )
  )
  t.same(answers.map(({ status }) => status).sort(), [200, ...Array.from({ length: 9 }, () => 412)])
})

// [INPUT-14]
t.test('the quota of a Site holds exactly under concurrent creates, and a delete frees a place', async t => {
  const environment = { MAX_REGISTRATIONS_PER_SITE: '5' }
  const one = await startApp(t, { environment })
  const other = await startApp(t, { environment, databaseUrl: one.databaseUrl })
  const create = (grantd: Grantd) => grantd.asAdmin('POST', COLLECTION, { body: { name: 'x', expiresAt: inDays(10) } })
  const answers = await Promise.all(Array.from({ length: 20 }, (_, index) => create(index % 2 === 0 ? one : other)))
  const made = answers.filter(({ status }) => status === 201)
  const refused = answers.filter(({ status }) => status === 409)
  t.equal(made.length, 5)
  t.equal(refused.length, 15)
  t.equal(refused[0]?.json().code, 'quota_exceeded')
  t.same(await query(one.databaseUrl, 'select count(*)::int from registrations'), [{ count: 5 }])
  t.equal((await one.asAdmin('DELETE', String(made[0]?.headers.location))).status, 204)
  t.equal((await create(other)).status, 201)
  t.equal((await create(one)).status, 409)
  await one.register({}, 'umbrella')
})

// [INPUT-12]
t.test('bad bodies are refused with a pointer per fault, and nothing is coerced or dropped', async t => {
  const grantd = await startApp(t)
  const { path } = await grantd.register({ name: 'untouched' })
  const before = (await grantd.asAdmin('GET', path)).text
  const good = { name: 'x', expiresAt: inDays(10) }
  const many = Array.from({ length: 51 }, (_, index) => `scope${index}`)
  for (const [member, value, code] of [
    ['name', '', 'invalid_length'],
    ['name', '   ', 'invalid_length'],
    ['name', 'x'.repeat(101), 'invalid_length'],
    ['name', 'a\u202eb', 'invalid_character'],
    ['name', 'a\ud800b', 'invalid_character'],
    ['name', 5, 'wrong_type'],
    ['name', null, 'wrong_type'],
    ['enabled', 'true', 'wrong_type'],
    ['enabled', 1, 'wrong_type'],
    ['enabled', null, 'wrong_type'],
    ['scopes', 'devices:read', 'wrong_type'],
    ['scopes', many, 'invalid_value'],
    ['scopes', ['a', 'a'], 'invalid_value'],
    ['audiences', 'https://a.example', 'wrong_type'],
    ['audiences', null, 'wrong_type'],
    ['audiences', many.slice(0, 11).map(scope => `https://a.example/${scope}`), 'invalid_value'],
    ...['clientId', 'registeredAt', 'lastUsedAt', 'expiresInDays', 'state', 'clientSecret', 'siteId', 'site_id'].map(
      readOnly => [readOnly, 'x', 'unknown_member'] as const
    ),
    ['secret_hash', '$argon2id$', 'unknown_member'],
    ['version', 1, 'unknown_member'],
    ['constructor', {}, 'unknown_member'],
    ['toString', 'x', 'unknown_member'],
    ['Name', 'x', 'unknown_member'],
    ['a/b~c', 'x', 'unknown_member']
  ] as const) {
    const pointer = `/${member.replaceAll('~', '~0').replaceAll('/', '~1')}`
    for (const answer of [
      await grantd.asAdmin('POST', COLLECTION, { body: { ...good, [member]: value } }),
      await grantd.asAdmin('PATCH', path, { body: { [member]: value } })
    ]) {
      t.equal(answer.status, 400, `${member}: ${JSON.stringify(value)}`)
      t.equal(answer.headers['content-type'], 'application/problem+json')
      t.match(answer.json(), { type: 'about:blank', title: 'Bad Request', status: 400, errors: [{ pointer, code }] })
    }
  }
  for (const scope of ['', 'a b', 'a"b', 'a\\b', 'é', 'a\n']) {
    const answer = await grantd.asAdmin('POST', COLLECTION, { body: { ...good, scopes: ['ok', scope] } })
    t.match(answer.json(), { status: 400, errors: [{ pointer: '/scopes/1' }] }, JSON.stringify(scope))
  }
  const several = await grantd.asAdmin('POST', COLLECTION, { body: { name: '', expiresAt: inDays(-1) } })
  t.same(
    several.json().errors.map(({ pointer }: { pointer: string }) => pointer),
    ['/name', '/expiresAt'],
    'every fault is told'
  )
  t.equal((await grantd.asAdmin('PATCH', path, { body: {} })).status, 400)
  t.equal((await grantd.asAdmin('GET', path)).text, before, 'the registration is as it was')
})

t.test('JSON that could be read in two ways, too deep, too large or of another type is refused', async t => {
  const grantd = await startApp(t)
  const post = (body: string | Buffer, type = 'application/json') =>
    grantd.asAdmin('POST', COLLECTION, { body, headers: { 'content-type': type } })
  const expiresAt = inDays(10)
  for (const [what, body, status, code] of [
    ['a duplicate key', `{"name":"a","expiresAt":"${expiresAt}","name":"b"}`, 400, 'invalid_json'],
    ['a duplicate key, escaped', `{"name":"a","expiresAt":"${expiresAt}","n\\u0061me":"b"}`, 400, 'invalid_json'],
    ['__proto__', `{"name":"a","expiresAt":"${expiresAt}","__proto__":{"enabled":false}}`, 400, 'invalid_json'],
    ['17 levels', `${'['.repeat(17)}${']'.repeat(17)}`, 400, 'invalid_json'],
    ['8,000 levels', `${'['.repeat(8_000)}${']'.repeat(8_000)}`, 400, 'invalid_json'],
    ['half a document', '{"name":', 400, 'invalid_json'],
    ['invalid UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]), 400, 'invalid_json'],
    ['UTF-16', Buffer.from('\ufeff{"name":"x"}', 'utf16le'), 400, 'invalid_json'],
    ['no document', '', 400, 'invalid_request'],
    ['null', 'null', 400, 'invalid_request'],
    ['an array', '[]', 400, 'invalid_request'],
    ['a text', '"x"', 400, 'invalid_request'],
    ['over 16 KiB', `{"name":"${'x'.repeat(16_384)}"}`, 413, 'too_large']
  ] as const) {
    const answer = await post(body)
    t.equal(answer.status, status, what)
    t.equal(answer.json().code, code, what)
  }
  const body = JSON.stringify({ name: 'x', expiresAt })
  for (const type of [
    'text/plain',
    'application/x-www-form-urlencoded',
    'application/json; charset=utf-16',
    'nonsense'
  ]) {
    const answer = await post(body, type)
    t.equal(answer.status, 415, type)
    t.equal(answer.json().code, 'unsupported_media_type')
  }
  t.equal((await post(body, 'application/json; charset=UTF-8')).status, 201)
  t.notMatch((await post('{"name": grantd_secret}')).text, /grantd_secret/, 'input is not echoed')
})

t.test('a body with a Content-Encoding is refused, because a proxy might read another body', async t => {
  const grantd = await startApp(t)
  for (const coding of ['gzip', 'br', 'deflate, gzip']) {
    const headers = { 'content-encoding': coding }
    const answer = await grantd.asAdmin('POST', COLLECTION, { body: { name: 'x', expiresAt: inDays(10) }, headers })
    t.equal(answer.status, 415, coding)
  }
  const headers = { 'content-encoding': 'identity' }
  t.equal(
    (await grantd.asAdmin('POST', COLLECTION, { body: { name: 'x', expiresAt: inDays(10) }, headers })).status,
    201
  )
})

t.test('parameters that an operation does not have, and percent-encoding that is not UTF-8, are refused', async t => {
  const grantd = await startApp(t)
  const { path } = await grantd.register()
  for (const [method, url, body] of [
    ['GET', `${path}?x=1`, undefined],
    ['DELETE', `${path}?unusedSince=P7D`, undefined],
    ['PATCH', `${path}?x=1`, { name: 'x' }],
    ['POST', `${COLLECTION}?dryRun=true`, { name: 'x', expiresAt: inDays(10) }],
    ['GET', `${COLLECTION}?search=%ff`, undefined],
    ['GET', `${COLLECTION}?search=%zz`, undefined]
  ] as const) {
    t.equal((await grantd.asAdmin(method, url, { body })).status, 400, `${method} ${url}`)
  }
  t.equal((await grantd.asAdmin('GET', path)).status, 200, 'nothing was deleted')
})

t.test('an answer lists at most 100 faults, and says that there are more', async t => {
  const grantd = await startApp(t)
  const wrong = (count: number) => ({ name: 'x', expiresAt: inDays(10), audiences: [], scopes: Array(count).fill(1) })
  const members = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, index) => [`m${index}`, 1]))
  for (const body of [wrong(900), { ...wrong(30), ...members(71) }, members(100)]) {
    const answer = await grantd.asAdmin('POST', COLLECTION, { body })
    t.equal(answer.status, 400)
    t.equal(answer.json().errors.length, 100)
    t.match(answer.json().detail, /^The request has more than 100 faults\. "errors" lists the first 100/)
  }
  const answer = await grantd.asAdmin('POST', COLLECTION, { body: { ...wrong(30), ...members(70) } })
  t.equal(answer.json().errors.length, 100)
  t.match(answer.json().detail, 'lists all of them')
})

t.test('an answer repeats X-Request-Id and nothing else of the request', async t => {
  const grantd = await startApp(t)
  const told = await grantd.asAdmin('GET', COLLECTION, { headers: { 'x-request-id': 'abc-1.2_3' } })
  t.equal(told.headers['x-request-id'], 'abc-1.2_3')
  for (const id of ['a b', 'x'.repeat(49), createClientSecret('a'), '"}', '']) {
    t.notOk('x-request-id' in (await grantd.asAdmin('GET', COLLECTION, { headers: { 'x-request-id': id } })).headers)
  }
  t.notOk('x-request-id' in (await grantd.asAdmin('GET', COLLECTION)).headers)
})

// [INPUT-15]
t.test('a wrong method is 405 with Allow', async t => {
  const grantd = await startApp(t)
  for (const [method, path, allow] of [
    ['PUT', COLLECTION, 'GET, HEAD, POST'],
    ['PROPFIND', COLLECTION, 'GET, HEAD, POST'],
    ['POST', `${COLLECTION}/k3v9x2m7q1w8z5t4r6y0`, 'DELETE, GET, HEAD, PATCH'],
    ['OPTIONS', COLLECTION, 'GET, HEAD, POST'],
    ['TRACE', COLLECTION, 'GET, HEAD, POST'],
    ['QUERY', COLLECTION, 'GET, HEAD, POST'],
    ['DELETE', '/v1/app-registrations', 'GET, HEAD'],
    ['POST', '/.well-known/jwks.json', 'GET, HEAD'],
    ['DELETE', '/health/live', 'GET, HEAD']
  ] as const) {
    const answer = await grantd.asAdmin(method, path)
    t.equal(answer.status, 405, `${method} ${path}`)
    t.equal(answer.headers.allow, allow)
    t.equal(answer.json().code, 'method_not_allowed')
  }
  t.equal((await grantd.asAdmin('GET', '/v1/nothing')).status, 404)
  t.equal((await grantd.asAdmin('GET', '/%zz')).status, 400)
})
