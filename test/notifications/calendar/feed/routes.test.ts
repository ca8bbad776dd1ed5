import ical from 'ical.js'
import t from 'tap'
import { ALL_SITES } from '../../../../src/database/site-setting.ts'
import { digestFeedKey } from '../../../../src/notifications/calendar/feed/feed-key.ts'
import { findFeedSite } from '../../../../src/notifications/calendar/feed/repository.ts'
import { Clock, startApp } from '../../../fixtures/app/app.ts'
import {
  asServingRole,
  createDatabase,
  dumpTables,
  openTestTables,
  query,
  queryInSites,
  withClient
} from '../../../fixtures/app/database.ts'
import { type Answer, type Grantd, send } from '../../../fixtures/app/grantd.ts'
import { capturedLog } from '../../../fixtures/app/log.ts'
import { exchangeBytes } from '../../../fixtures/app/raw-http.ts'
import { DAY_MS } from '../../../fixtures/app/registration.ts'
import { startInstance } from '../../../fixtures/run/instance.ts'

const FEED = '/v1/sites/acme/calendar-feed'
/** Has the form of a key, and is none. */
const UNKNOWN_KEY = 'A'.repeat(43)

/** Gives the Site a feed. @returns path of its URL */
async function subscribe(grantd: Grantd, path = FEED): Promise<string> {
  const answer = await grantd.asAdmin('PUT', path)
  if (answer.status !== 201) throw new Error(answer.text)
  return new URL(answer.json().url).pathname
}

const keyOf = (path: string): string => path.slice('/calendar/'.length, -'.ics'.length)

/** The parts of an answer that do not depend on the second it was sent in. */
const timeless = ({ status, headers: { date: _, ...headers }, text }: Answer) => ({ status, headers, text })

const summaries = (text: string): string[] =>
  new ical.Component(ical.parse(text)).getAllSubcomponents('vevent').map(event => new ical.Event(event).summary)

// [NOTICE-30]
t.test('a calendar program reads the expiries of the Site by the URL only, without a header (RFC 5545)', async t => {
  const grantd = await startApp(t)
  await grantd.register({ name: 'billing export' })
  await grantd.register({ name: 'foreign' }, 'umbrella')
  const created = await grantd.asAdmin('PUT', FEED)
  t.equal(created.status, 201)
  t.equal(created.headers['cache-control'], 'no-store')
  t.match(created.json().url, new RegExp(`^${grantd.baseUrl}/calendar/[A-Za-z0-9_-]{43}\\.ics$`))
  const { pathname } = new URL(created.json().url)
  const answer = await grantd.send('GET', pathname)
  t.equal(answer.status, 200)
  t.equal(answer.headers['content-type'], 'text/calendar; charset=utf-8')
  t.equal(answer.headers['cache-control'], 'private, no-cache')
  t.same(summaries(answer.text), ['billing export expires'])
  const head = await grantd.send('HEAD', pathname)
  t.equal(head.status, 200)
  t.equal(head.headers['content-length'], String(Buffer.byteLength(answer.text)))
  t.equal(head.headers['etag'], answer.headers['etag'])
  t.equal((await grantd.send('GET', `${pathname}?cachebuster=1`)).status, 200, 'some programs add a query')
  t.equal((await grantd.send('POST', pathname)).headers['allow'], 'GET, HEAD')
})

// [NOTICE-31]
t.test('a new URL ends the one before, and revoking ends the last one, at once and on every instance', async t => {
  const grantd = await startApp(t)
  const { databaseUrl } = grantd
  const other = await startApp(t, { databaseUrl })
  const statuses = (...paths: string[]) => Promise.all(paths.map(async path => (await other.send('GET', path)).status))
  t.equal((await grantd.asAdmin('DELETE', FEED)).status, 404, 'there is none')
  const first = await subscribe(grantd)
  t.same(await statuses(first), [200])
  const second = await subscribe(grantd)
  t.same(await statuses(first, second), [404, 200])
  const foreign = await subscribe(grantd, '/v1/sites/umbrella/calendar-feed')
  t.equal((await grantd.asAdmin('DELETE', FEED)).status, 204)
  t.same(await statuses(first, second, foreign), [404, 404, 200])
  t.equal((await grantd.asAdmin('DELETE', FEED)).status, 404)
})

// [NOTICE-32]
t.test('a revoked key, an unknown one and junk get the same bytes', async t => {
  const grantd = await startApp(t)
  const revoked = await subscribe(grantd)
  await grantd.asAdmin('DELETE', FEED)
  const expected = timeless(await grantd.send('GET', `/calendar/${UNKNOWN_KEY}.ics`))
  t.equal(expected.status, 404)
  t.match(expected.headers, { 'content-type': /problem\+json/, 'cache-control': 'no-store' })
  for (const key of [keyOf(revoked), 'x', '%00', '..', `${UNKNOWN_KEY}A`, `${UNKNOWN_KEY.slice(1)}.`, '%F0%9F%98%80']) {
    t.same(timeless(await grantd.send('GET', `/calendar/${key}.ics`)), expected, key)
  }
})

t.test('an unchanged calendar is answered with 304, however much time has passed (RFC 9110 §13.1.2)', async t => {
  const clock = new Clock()
  const grantd = await startApp(t, { now: clock.now })
  const { path } = await grantd.register({ expiresAt: new Date(clock.time + 90 * DAY_MS).toISOString() })
  const feed = await subscribe(grantd)
  const { etag = '' } = (await grantd.send('GET', feed)).headers
  const ask = (tag: string) => grantd.send('GET', feed, { headers: { 'if-none-match': tag } })
  clock.advance(DAY_MS)
  for (const tag of [etag, String(etag).replace('W/', ''), `"a", ${etag}`, '*']) {
    const answer = await ask(String(tag))
    t.equal(answer.status, 304, String(tag))
    t.equal(answer.headers['etag'], etag)
    t.equal(answer.text, '')
  }
  t.equal((await ask('"a"')).status, 200)
  await grantd.asAdmin('PATCH', path, { body: { name: 'renamed' } })
  const changed = await ask(String(etag))
  t.equal(changed.status, 200)
  t.not(changed.headers['etag'], etag)
})

t.test('the URL begins with ISSUER, whose path a proxy in front of grantd takes off', async t => {
  for (const ISSUER of ['https://id.example.com', 'https://example.com/grantd', 'https://example.com/grantd/']) {
    const grantd = await startApp(t, { environment: { ISSUER } })
    const { url } = (await grantd.asAdmin('PUT', FEED)).json()
    t.match(url, new RegExp(`^${ISSUER.replace(/\/$/, '')}/calendar/[^/]{43}\\.ics$`))
  }
})

// [SITE-20]
t.test('a feed of another Site can neither be made nor revoked', async t => {
  const grantd = await startApp(t)
  const feed = await subscribe(grantd)
  for (const method of ['PUT', 'DELETE']) {
    t.equal((await grantd.asAdmin(method, FEED, { sites: ['umbrella'] })).status, 404)
    t.equal((await grantd.send(method, FEED)).status, 401)
    t.equal((await grantd.asAdmin(method, FEED, { sites: [] })).status, 403)
    t.equal((await grantd.asAdmin(method, `${FEED}?x=1`)).status, 400)
  }
  t.equal((await grantd.send('GET', feed)).status, 200, 'it still works')
})

t.test('each change of a feed leaves an audit event, without the key', async t => {
  const clock = new Clock()
  const grantd = await startApp(t, { now: clock.now })
  const keys = [keyOf(await subscribe(grantd))]
  clock.advance(DAY_MS)
  keys.push(keyOf(await subscribe(grantd)))
  await grantd.asAdmin('DELETE', FEED)
  const { text, json } = await grantd.asAdmin('GET', '/v1/sites/acme/audit-events?clientId=acme')
  const [first, second] = [clock.time - DAY_MS, clock.time].map(time => new Date(time).toISOString())
  t.match(json().items.toReversed(), [
    { action: 'calendar_feed.created', changes: { createdAt: { from: null, to: first } } },
    { action: 'calendar_feed.replaced', changes: { createdAt: { from: first, to: second } } },
    { action: 'calendar_feed.revoked', changes: { createdAt: { from: second, to: null } } }
  ])
  for (const key of keys) t.notMatch(text, key)
})

t.test(
  'of many URLs that are made at once, exactly one works, and the audit says that it replaced the others',
  async t => {
    const grantd = await startApp(t)
    const feeds = await Promise.all(Array.from({ length: 8 }, () => subscribe(grantd)))
    const answers = await Promise.all(feeds.map(feed => grantd.send('GET', feed)))
    t.equal(answers.filter(({ status }) => status === 200).length, 1)
    const { items } = (await grantd.asAdmin('GET', '/v1/sites/acme/audit-events')).json()
    const actions = items.map(({ action }: { action: string }) => action)
    t.same(actions, [...Array.from({ length: 7 }, () => 'calendar_feed.replaced'), 'calendar_feed.created'])
  }
)

// [SECRET-20]
t.test('a key is in no table, log line or metric of a process, wherever in a request it stands', async t => {
  const databaseUrl = await createDatabase(t)
  const { server, grantd } = await startInstance(t, databaseUrl, { LOG_LEVEL: 'trace', METRICS_PORT: '0' })
  const feed = await subscribe(grantd)
  const { url } = (await grantd.asAdmin('PUT', FEED)).json()
  const current = new URL(url).pathname
  t.equal((await send('GET', url)).status, 200, 'the URL works as it is')
  t.equal((await grantd.send('GET', feed)).status, 404)
  for (const [method, path] of [
    ['GET', current.replace('.ics', '')],
    ['GET', `${current}/`],
    ['GET', `/%zz${current}`],
    ['POST', current],
    ['GET', `/docs?from=${current}`]
  ] as const) {
    await send(method, `${server.baseUrl}${path}`, { headers: { 'x-request-id': `a ${current}`, referer: url } })
  }
  await exchangeBytes(server.baseUrl, `GET ${current} HTTP/9.9\r\n\r\n`)
  await grantd.asAdmin('DELETE', FEED)
  t.equal((await grantd.send('GET', current)).status, 404)
  const tables = JSON.stringify(await dumpTables(databaseUrl))
  await grantd.close()
  t.match(server.output(), '"route":"/calendar/:key.ics"', 'it was logged')
  for (const key of [feed, current].map(keyOf)) {
    t.notMatch(server.output(), key)
    t.notMatch(tables, key)
  }
})

t.test('a key is looked up by one index, however many Sites have a feed', async t => {
  const url = await createDatabase(t)
  await query(
    url,
    `insert into calendar_feeds select 'site-' || n, sha256(n::text::bytea), now() from generate_series(1, 10000) n`
  )
  await query(url, 'analyze calendar_feeds')
  const { ofAllSites } = openTestTables(t, asServingRole(url))
  t.equal(await findFeedSite(ofAllSites, digestFeedKey('77')), 'site-77')
  const plan = await queryInSites(
    asServingRole(url),
    ALL_SITES,
    `explain select site_id from calendar_feeds where key_digest = sha256('77')`
  )
  t.match(JSON.stringify(plan), 'Index Scan using calendar_feeds_key_digest_key')
})

// [LOAD-20]
t.test('a flood of wrong keys while their look-ups hang stops neither tokens nor administrators', async t => {
  const { log, lines } = capturedLog()
  const grantd = await startApp(t, { log })
  const registration = await grantd.register()
  await withClient(grantd.databaseUrl, async blocker => {
    await blocker.query('begin')
    await blocker.query('lock table calendar_feeds in access exclusive mode')
    const flood = Array.from({ length: 200 }, () => grantd.send('GET', `/calendar/${UNKNOWN_KEY}.ics`))
    const turnedAway = await Promise.race(flood)
    t.equal(turnedAway.status, 503)
    t.equal(turnedAway.headers['retry-after'], '1')
    t.equal((await grantd.exchange(registration)).status, 200)
    t.equal((await grantd.asAdmin('GET', registration.path)).status, 200)
    await blocker.query('rollback')
    const statuses = new Set((await Promise.all(flood)).map(({ status }) => status))
    t.same([...statuses].sort(), [404, 503])
  })
  t.match(lines.join(''), '"reason":"overloaded"')
})
