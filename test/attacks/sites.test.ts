import t, { type Test } from 'tap'
import { signAdminToken, startApp } from '../fixtures/app/app.ts'
import { dumpTables } from '../fixtures/app/database.ts'
import type { Grantd, Json } from '../fixtures/app/grantd.ts'
import { answerBytes } from '../fixtures/app/raw-http.ts'
import { inDays } from '../fixtures/app/registration.ts'
import { mismatches, OPERATIONS, type Operation, type Scope, type Target } from './operations.ts'

/** Site `acme` is attacked. The attacker administers `globex`. */
const CALLERS = {
  'no token': async () => undefined,
  'an expired token': () => signAdminToken(['acme'], Date.now() - 2 * 3_600_000),
  'another Site': () => signAdminToken(['globex'], Date.now()),
  'no role': () => signAdminToken([], Date.now()),
  'both Sites': () => signAdminToken(['acme', 'globex'], Date.now()),
  'all Sites': () => signAdminToken(['*'], Date.now())
} as const satisfies Record<string, () => Promise<string | undefined>>

type Caller = keyof typeof CALLERS
const callers = Object.keys(CALLERS).filter((name): name is Caller => name in CALLERS)

/** By the shape of the path alone: `ok` is the operation's own status of success. */
const EXPECTED: Record<Scope, Record<Caller, number | 'ok'>> = {
  'one Site': {
    'no token': 401,
    'an expired token': 401,
    'another Site': 404,
    'no role': 403,
    'both Sites': 'ok',
    'all Sites': 'ok'
  },
  'all Sites': {
    'no token': 401,
    'an expired token': 401,
    'another Site': 403,
    'no role': 403,
    'both Sites': 403,
    'all Sites': 'ok'
  },
  // A client authenticates in one way: an administrator's token beside its secret is a second.
  clients: {
    'no token': 'ok',
    'an expired token': 400,
    'another Site': 400,
    'no role': 400,
    'both Sites': 400,
    'all Sites': 400
  },
  // An administrator's token in the place of the ticket.
  'ticket holders': {
    'no token': 'ok',
    'an expired token': 401,
    'another Site': 401,
    'no role': 401,
    'both Sites': 401,
    'all Sites': 401
  },
  anybody: {
    'no token': 'ok',
    'an expired token': 'ok',
    'another Site': 'ok',
    'no role': 'ok',
    'both Sites': 'ok',
    'all Sites': 'ok'
  }
}

const ofOneSite = OPERATIONS.filter(({ scope }) => scope === 'one Site')

function bearer(token: string | undefined): Record<string, string> {
  return token === undefined ? {} : { authorization: `Bearer ${token}` }
}

async function makeTarget(grantd: Grantd, siteId = 'acme'): Promise<Target> {
  const { clientId, clientSecret } = await grantd.register({ name: `of ${siteId}` }, siteId)
  return { siteId, clientId, clientSecret }
}

// [SITE-2]
t.test('every operation of openapi.yaml has a request in operations.ts, so that it is attacked', async t => {
  t.same(mismatches(), [])
  t.ok(OPERATIONS.length >= 11)
})

/** Each operation is about a registration of its own. */
const attacked = await startApp(t, { environment: { MAX_NOTICE_RECEIVERS_PER_SITE: '1000' } })

for (const operation of OPERATIONS) {
  // [SITE-1]
  t.test(`${operation.id} answers each caller as its path says, and a refusal changes nothing`, async t => {
    for (const caller of callers) await attack(t, attacked, operation, caller)
  })
}

async function attack(t: Test, grantd: Grantd, operation: Operation, caller: Caller): Promise<void> {
  const { path, headers, body } = await operation.request(await makeTarget(grantd), grantd)
  const sending = { headers: { ...headers, ...bearer(await CALLERS[caller]()) }, ...(body !== '' && { body }) }
  const expected = EXPECTED[operation.scope][caller]
  const before = expected === 'ok' ? undefined : await dumpTables(grantd.databaseUrl)
  const answer = await grantd.send(operation.method, path, sending)
  t.equal(answer.status, expected === 'ok' ? operation.success : expected, `${caller}: ${answer.text}`)
  if (before !== undefined) t.same(await dumpTables(grantd.databaseUrl), before, caller)
  if (operation.method !== 'GET') return
  t.equal((await grantd.send('HEAD', path, sending)).status, answer.status, `HEAD by ${caller}`)
}

// [SITE-3]
t.test("another Site's things answer byte for byte as absent ones, at each operation of a Site", async t => {
  const grantd = await startApp(t)
  t.ok(ofOneSite.length >= 5)
  for (const operation of ofOneSite) {
    const foreign = await makeTarget(grantd)
    const own = await makeTarget(grantd, 'globex')
    const { path, headers, body } = await operation.request(foreign, grantd)
    const sent = { ...headers, ...bearer(await CALLERS['another Site']()) }
    const answerTo = (at: string) => answerBytes(grantd.baseUrl, operation.method, at, sent, body)
    const withinOwn = path.replace('/sites/acme/', '/sites/globex/')
    const inNoSite = path.replace('/sites/acme/', '/sites/never-heard-of/')
    const expected = await answerTo(absent(inNoSite))
    t.match(expected, /^HTTP\/1\.1 404 Not Found\r\n/, operation.id)
    t.equal(await answerTo(path), expected, `${operation.id}: the foreign Site`)
    t.equal(await answerTo(inNoSite), expected, `${operation.id}: no such Site`)
    if (namesThings(operation)) {
      t.equal(await answerTo(withinOwn), expected, `${operation.id}: a foreign thing in the own Site`)
      t.equal(await answerTo(absent(withinOwn)), expected, `${operation.id}: an absent thing in the own Site`)
    }
    t.equal((await grantd.exchange(foreign)).status, 200, `${operation.id}: what it is after is as it was`)
    t.equal((await grantd.exchange(own)).status, 200)
  }
})

/** Whether the path names something that must exist. A PUT may make it. */
function namesThings({ method, template }: Operation): boolean {
  return method !== 'PUT' && /\{(?!siteId)\w+\}/.test(template)
}

/** The path with every id behind the Site changed to one of the same form that nothing has. */
function absent(path: string): string {
  return path.replaceAll(/(?<=\/sites\/[^/]+\/.*\/)[a-z0-9-]*\d[a-z0-9-]*/g, id =>
    id.replaceAll(/[0-9a-f]/g, digit => ((Number.parseInt(digit, 16) + 7) % 16).toString(16))
  )
}

// [SITE-4]
t.test('a cursor of one Site opens no page of another, in any order, even for an administrator of both', async t => {
  const grantd = await startApp(t)
  for (const site of ['acme', 'globex']) for (let row = 0; row < 3; row++) await makeTarget(grantd, site)
  const list = (site: string, query: string) =>
    grantd.asAdmin('GET', `/v1/sites/${site}/app-registrations?limit=1&${query}`, { sites: ['acme', 'globex'] })
  for (const sort of [
    'name',
    'name&order=desc',
    'clientId',
    'registeredAt',
    'expiresAt&order=desc',
    'enabled',
    'lastUsedAt',
    'state'
  ]) {
    const { nextCursor } = (await list('acme', `sort=${sort}`)).json()
    t.type(nextCursor, 'string', sort)
    t.equal((await list('acme', `sort=${sort}&cursor=${nextCursor}`)).status, 200, sort)
    const answer = await list('globex', `sort=${sort}&cursor=${nextCursor}`)
    t.match(answer.json(), { status: 400, errors: [{ parameter: 'cursor' }] }, sort)
    const overAll = await grantd.asAdmin('GET', `/v1/app-registrations?limit=1&sort=${sort}&cursor=${nextCursor}`)
    t.equal(overAll.status, 400, sort)
  }
})

// [SITE-5]
t.test('no filter, search or page of a Site shows that another has anything', async t => {
  const empty = await startApp(t)
  const full = await startApp(t)
  const secret = await full.register({
    name: 'merger with initech',
    key: 'merger',
    enabled: false,
    scopes: ['deals:read']
  })
  for (const grantd of [empty, full]) await grantd.register({ name: 'own' }, 'globex')
  for (const query of [
    '',
    'search=merger',
    'search=%25',
    'search=_',
    `search=${secret.clientId}`,
    'enabled=false',
    'key=merger',
    'keyed=true',
    'state=active',
    'unusedSince=2026-01-01T00:00:00Z',
    'limit=1',
    'limit=1&sort=registeredAt&order=desc',
    'siteId=acme'
  ]) {
    const [without, beside] = await Promise.all(
      [empty, full].map(grantd =>
        grantd.asAdmin('GET', `/v1/sites/globex/app-registrations?${query}`, { sites: ['globex'] })
      )
    )
    t.equal(beside?.status, query.startsWith('siteId') ? 400 : 200, query)
    t.same(shape(beside?.json()), shape(without?.json()), query)
    t.notMatch(beside?.text, /merger|deals|acme/, query)
  }
})

/** What of a page doesn't depend on which ids and instants were made. */
function shape(page: Json): unknown {
  const { items = [], ...rest } = page
  return { ...rest, names: items.map(({ name }: Json) => name) }
}

// [SITE-6]
t.test('the quota of one Site is not used up by another', async t => {
  const grantd = await startApp(t, { environment: { MAX_REGISTRATIONS_PER_SITE: '2' } })
  for (let row = 0; row < 2; row++) await makeTarget(grantd, 'globex')
  await t.rejects(makeTarget(grantd, 'globex'), /409/)
  await makeTarget(grantd)
  await makeTarget(grantd)
})

// [SITE-7]
t.test("an Idempotency-Key of one Site answers nothing of another's", async t => {
  const grantd = await startApp(t)
  const body = { name: 'the same', expiresAt: inDays(30) }
  const headers = { 'idempotency-key': '7f0c9f3e-1d5e-4c57-9b7a-5a2f3c1d2e4b' }
  const made = await Promise.all(
    ['acme', 'globex'].map(site =>
      grantd.asAdmin('POST', `/v1/sites/${site}/app-registrations`, { body, headers, sites: ['acme', 'globex'] })
    )
  )
  const [acme, globex] = made.map(({ status, json }) => ({ status, ...json() }))
  t.match([acme, globex], [{ status: 201 }, { status: 201 }])
  t.not(acme.clientId, globex.clientId)
  t.not(acme.clientSecret, globex.clientSecret)
  for (const [site, { clientId }] of [
    ['acme', acme],
    ['globex', globex]
  ] as const) {
    const found = await grantd.asAdmin('GET', `/v1/sites/${site}/app-registrations/${clientId}`)
    t.equal(found.status, 200, site)
  }
})

// [SITE-8]
t.test('the ETag of one Site is of no use in another', async t => {
  const grantd = await startApp(t)
  const acme = await grantd.register()
  const etag = String(acme.answer.headers.etag)
  for (const path of [acme.path, acme.path.replace('acme', 'globex')]) {
    for (const ifMatch of [etag, '*', '"0"']) {
      const options = { sites: ['globex'], headers: { 'if-match': ifMatch } }
      t.equal((await grantd.asAdmin('PATCH', path, { ...options, body: { enabled: false } })).status, 404)
      t.equal((await grantd.asAdmin('DELETE', path, options)).status, 404)
    }
  }
  t.equal((await grantd.asAdmin('GET', acme.path)).headers.etag, etag)
})
