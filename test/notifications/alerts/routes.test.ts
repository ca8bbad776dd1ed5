import ical from 'ical.js'
import t, { type Test } from 'tap'
import { Clock, startApp } from '../../fixtures/app/app.ts'
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

t.test('an alert is there from the instant of expiry, and gone on the next read after renewal or deletion', async t => {
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

t.test('a disabled registration that expires has its alert, which says so', async t => {
  const { grantd, made } = await startExpired(t)
  await grantd.asAdmin('PATCH', made.late.path, { body: { enabled: false } })
  t.match((await grantd.asAdmin('GET', ALERTS)).json().items[0], { name: 'late', enabled: false })
})

t.test('a Global Administrator reads the alerts of all Sites, each with its Site, or those of one', async t => {
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

t.test('alerts page, and a cursor is good for its listing alone', async t => {
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
t.test('a stock calendar library reads the expiries of the Site, with alarms at the steps', async t => {
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
})

t.test(
  'the calendar of a Site without registrations is valid and shows nothing: it has a component, no event',
  async t => {
    const grantd = await startApp(t)
    const { text, events } = await readCalendar(grantd)
    t.equal(events.length, 0)
    const components = new ical.Component(ical.parse(text)).getAllSubcomponents()
    t.same(
      components.map(({ name }) => name),
      ['vfreebusy']
    )
    // RFC 5545 §3.6.4: those two are required; without times there is nothing that is free or busy.
    t.same(
      components[0]?.getAllProperties().map(({ name }) => name),
      ['uid', 'dtstamp']
    )
    await grantd.register()
    t.notMatch((await readCalendar(grantd)).text, 'VFREEBUSY')
  }
)

t.test('a renewed registration is the same event, changed', async t => {
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

t.test('names are text in the calendar: escaped, folded at 75 octets, and whole again when read', async t => {
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
})

t.test("the calendar of a Site that isn't the caller's is the 404 of one that isn't there", async t => {
  const { grantd } = await startExpired(t)
  const path = '/v1/sites/acme/expirations.ics'
  t.equal((await grantd.asAdmin('GET', path, { sites: ['umbrella'] })).status, 404)
  t.equal((await grantd.asAdmin('GET', `${path}?token=x`)).status, 400)
})
