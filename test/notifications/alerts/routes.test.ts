import ical from 'ical.js'
import t, { type Test } from 'tap'
import { Clock, startApp } from '../../fixtures/app/app.ts'
import { query } from '../../fixtures/app/database.ts'
import type { Grantd, Json } from '../../fixtures/app/grantd.ts'
import { DAY_MS } from '../../fixtures/app/registration.ts'

const ALERTS = '/v1/sites/acme/alerts'

const names = (answer: Json): string[] => answer.items.map(({ name }: Json) => name)

/** Three registrations of acme and one of umbrella, all but one of acme expired. */
async function startExpired(t: Test) {
  const clock = new Clock()
  const grantd = await startApp(t, { now: clock.now })
  const register = (name: string, days: number, site = 'acme') =>
    grantd.register({ name, expiresAt: new Date(clock.time + days * DAY_MS).toISOString() }, site)
  const made = {
    early: await register('early', 1),
    late: await register('late', 3),
    valid: await register('valid', 100),
    foreign: await register('foreign', 2, 'umbrella')
  }
  clock.advance(4 * DAY_MS)
  return { clock, grantd, made }
}

t.test('there is one alert for each expired registration of the Site, the latest expiry first', async t => {
  const { grantd, made, clock } = await startExpired(t)
  const answer = await grantd.asAdmin('GET', ALERTS)
  t.equal(answer.status, 200)
  t.same(names(answer.json()), ['late', 'early'])
  t.same(answer.json().items[1], {
    clientId: made.early.clientId,
    name: 'early',
    expiresAt: new Date(clock.time - 3 * DAY_MS).toISOString(),
    enabled: true,
    expiredDays: 3
  })
})

t.test('an alert exists from the instant of expiry until the registration is renewed or deleted', async t => {
  const { clock, grantd, made } = await startExpired(t)
  const expiresAt = new Date(clock.time + DAY_MS).toISOString()
  await grantd.asAdmin('PATCH', made.late.path, { body: { expiresAt } })
  t.same(names((await grantd.asAdmin('GET', ALERTS)).json()), ['early'])
  await grantd.asAdmin('DELETE', made.early.path)
  t.same(names((await grantd.asAdmin('GET', ALERTS)).json()), [])
  clock.advance(DAY_MS - 1)
  t.same(names((await grantd.asAdmin('GET', ALERTS)).json()), [])
  clock.advance(1)
  t.match((await grantd.asAdmin('GET', ALERTS)).json().items, [{ name: 'late', expiredDays: 0 }])
})

t.test('the alert of a disabled registration says that it is disabled', async t => {
  const { grantd, made } = await startExpired(t)
  await grantd.asAdmin('PATCH', made.late.path, { body: { enabled: false } })
  t.match((await grantd.asAdmin('GET', ALERTS)).json().items[0], { name: 'late', enabled: false })
})

t.test('a Global Administrator lists the alerts of all Sites, each with its Site, or of one Site', async t => {
  const { grantd } = await startExpired(t)
  const all = (await grantd.asAdmin('GET', '/v1/alerts')).json()
  t.same(
    all.items.map(({ siteId, name }: Json) => [siteId, name]),
    [
      ['acme', 'late'],
      ['umbrella', 'foreign'],
      ['acme', 'early']
    ]
  )
  t.same(names((await grantd.asAdmin('GET', '/v1/alerts?siteId=umbrella')).json()), ['foreign'])
  t.equal((await grantd.asAdmin('GET', '/v1/alerts', { sites: ['acme', 'umbrella'] })).status, 403)
  t.equal((await grantd.asAdmin('GET', ALERTS, { sites: ['umbrella'] })).status, 404)
})

t.test('alerts page, and a cursor is valid for its own listing only', async t => {
  const { grantd } = await startExpired(t)
  const walk = async (path: string) => {
    const found: string[] = []
    for (let cursor: string | null = ''; cursor !== null; ) {
      const page = (await grantd.asAdmin('GET', `${path}?limit=1${cursor && `&cursor=${cursor}`}`)).json()
      found.push(...names(page))
      cursor = page.nextCursor
    }
    return found
  }
  t.same(await walk(ALERTS), ['late', 'early'])
  t.same(await walk('/v1/alerts'), ['late', 'foreign', 'early'])
  const { nextCursor } = (await grantd.asAdmin('GET', '/v1/alerts?limit=1')).json()
  for (const path of [
    `${ALERTS}?cursor=${nextCursor}`,
    `/v1/alerts?siteId=acme&cursor=${nextCursor}`,
    `/v1/alerts?cursor=${nextCursor}x`,
    '/v1/alerts?limit=0',
    `${ALERTS}?siteId=acme`
  ]) {
    t.equal((await grantd.asAdmin('GET', path)).status, 400, path)
  }
})

async function readCalendar(grantd: Grantd): Promise<{ text: string; events: InstanceType<typeof ical.Event>[] }> {
  const answer = await grantd.asAdmin('GET', '/v1/sites/acme/expirations.ics')
  if (answer.status !== 200) throw new Error(answer.text)
  const calendar = new ical.Component(ical.parse(answer.text))
  return {
    text: answer.text,
    events: calendar.getAllSubcomponents('vevent').map(component => new ical.Event(component))
  }
}

// [NOTICE-11]
t.test(
  'a stock calendar library reads the expiries of the Site, with alarms on the notice days (RFC 5545)',
  async t => {
    const { grantd, made } = await startExpired(t)
    const answer = await grantd.asAdmin('GET', '/v1/sites/acme/expirations.ics')
    t.equal(answer.headers['content-type'], 'text/calendar; charset=utf-8')
    const { events } = await readCalendar(grantd)
    t.same(
      events.map(({ summary }) => summary),
      ['early expires', 'late expires', 'valid expires']
    )
    const [, , valid] = events
    t.equal(valid?.uid, `${made.valid.clientId}@grantd`)
    t.equal(valid?.sequence, 0)
    t.equal(valid?.startDate.toJSDate().toISOString().slice(0, 19), made.valid.answer.json().expiresAt.slice(0, 19))
    const triggers = valid?.component
      .getAllSubcomponents('valarm')
      .map(alarm => String(alarm.getFirstPropertyValue('trigger')))
    t.same(triggers, ['-P30D', '-P7D', 'PT0S'])
  }
)

t.test(
  'the calendar of a Site without registrations is valid: it has a component, but no event (RFC 5545 §3.6)',
  async t => {
    const grantd = await startApp(t)
    const { text, events } = await readCalendar(grantd)
    t.equal(events.length, 0)
    const components = new ical.Component(ical.parse(text)).getAllSubcomponents()
    t.same(
      components.map(({ name }) => name),
      ['vfreebusy']
    )
    // RFC 5545 §3.6.4 requires these two. Without times the component is neither free nor busy.
    t.same(
      components[0]?.getAllProperties().map(({ name }) => name),
      ['uid', 'dtstamp']
    )
    await grantd.register()
    t.notMatch((await readCalendar(grantd)).text, 'VFREEBUSY')
  }
)

t.test('a renewed registration stays the same event, with a higher sequence number (RFC 5545 §3.8.7.4)', async t => {
  const { clock, grantd, made } = await startExpired(t)
  const [before] = (await readCalendar(grantd)).events
  await grantd.asAdmin('PATCH', made.early.path, {
    body: { expiresAt: new Date(clock.time + 500 * DAY_MS).toISOString() }
  })
  const { events } = await readCalendar(grantd)
  const after = events.find(({ uid }) => uid === before?.uid)
  t.equal(after?.sequence, 1)
  t.not(String(after?.startDate), String(before?.startDate))
  t.equal(events.length, 3)
})

t.test(
  'a name with special characters is escaped and folded, and a reader gets it back unchanged (RFC 5545 §3.1)',
  async t => {
    const { grantd } = await startExpired(t)
    const name = `a;b,c\\n:"${'ü✓😀'.repeat(20)}\\`
    await grantd.register({ name })
    const { text, events } = await readCalendar(grantd)
    t.ok(events.some(({ summary }) => summary === `${name} expires`))
    for (const line of text.split('\r\n')) {
      t.ok(Buffer.byteLength(line) <= 75, `${Buffer.byteLength(line)} octets`)
      t.notMatch(line, /[\r\n\uFFFD]/)
    }
    t.ok(text.endsWith('END:VCALENDAR\r\n'))
  }
)

t.test('a calendar has at most 1,000 events: those that expire next, then the latest expired; it says so', async t => {
  const { clock, grantd } = await startExpired(t)
  const add = (count: number, startMs: number) =>
    query(
      grantd.databaseUrl,
      `insert into registrations
         (client_id, site_id, name, name_folded, secret_hash, secret_mac, secret_mac_key_id, secret_created_at,
          scopes, enabled, registered_at, expires_at, expiry_set_at)
       select substr(md5(random()::text), 1, 20), 'acme', 'row ' || n, 'row', '$argon2id$', decode(repeat('00', 32), 'hex'), 'none',
         $2, '{}', true, $2,
         $1::timestamptz + n * interval '1 hour', $2 from generate_series(1, $3::integer) n`,
      [new Date(clock.time + startMs), new Date(clock.time), count]
    )
  await add(990, 0)
  const { text: whole, events } = await readCalendar(grantd)
  t.equal(events.length, 993)
  t.notMatch(whole, 'X-WR-CALDESC')
  await add(8, 365 * DAY_MS)
  const { text, events: shown } = await readCalendar(grantd)
  t.equal(shown.length, 1_000)
  t.match(text, 'X-WR-CALDESC:This calendar shows 1000 App registrations')
  t.notOk(
    shown.some(({ summary }) => summary === 'early expires'),
    'the oldest expired one is left out'
  )
  await add(100, 730 * DAY_MS)
  const { events: upcoming } = await readCalendar(grantd)
  t.equal(upcoming.length, 1_000)
  t.notOk(upcoming.some(({ startDate }) => startDate.toJSDate().getTime() < clock.time))
  t.equal(upcoming[0]?.summary, 'row 1 expires')
})

t.test("the calendar of another administrator's Site is answered with 404, like one that does not exist", async t => {
  const { grantd } = await startExpired(t)
  const path = '/v1/sites/acme/expirations.ics'
  t.equal((await grantd.asAdmin('GET', path, { sites: ['umbrella'] })).status, 404)
  t.equal((await grantd.asAdmin('GET', `${path}?token=x`)).status, 400)
})
