import t, { type Test } from 'tap'
import { createAnnouncer } from '../../../src/notifications/announcer.ts'
import { lookForUnused, type UnusedOptions } from '../../../src/registrations/unused/round.ts'
import { Clock, startApp } from '../../fixtures/app/app.ts'
import { asServingRole, openTestDatabase, query } from '../../fixtures/app/database.ts'
import { DAY_MS, inDays } from '../../fixtures/app/registration.ts'

const NOTICE_DAYS = 30
const DISABLE_DAYS = 60

/** An instance whose rounds the test does, one a day. */
async function start(t: Test, policy: Partial<UnusedOptions> = {}) {
  const clock = new Clock()
  const grantd = await startApp(t, { now: clock.now })
  const register = (members = {}) => grantd.register({ expiresAt: inDays(700, clock.time), ...members })
  const options: UnusedOptions = {
    db: openTestDatabase(t, asServingRole(grantd.databaseUrl)),
    issuer: 'https://grantd.example.com',
    announcer: createAnnouncer({ serviceKinds: ['webhook'], outbox: { pumpInBackground: () => {} } }),
    onChanged: () => {},
    databaseNow: async () => clock.time,
    intervalMs: DAY_MS,
    noticeDays: NOTICE_DAYS,
    disableDays: DISABLE_DAYS,
    ...policy
  }
  const day = async () => {
    clock.advance(DAY_MS)
    return lookForUnused(options)
  }
  const days = async (count: number) => {
    for (let index = 0; index < count; index++) await day()
  }
  const notices = async (): Promise<string[]> => {
    const { items } = (await grantd.asAdmin('GET', '/v1/sites/acme/notices?limit=200')).json()
    return items.map(({ type }: { type: string }) => type).reverse()
  }
  return { clock, grantd, register, options, day, days, notices }
}

t.test('an unused registration gets one notice in its quiet period, and the next use arms it again', async t => {
  const { grantd, register, days, notices } = await start(t, { disableDays: 0 })
  const registered = await register()
  await days(NOTICE_DAYS - 1)
  t.same(await notices(), [])
  await days(1)
  t.same(await notices(), ['unused'])
  await days(100)
  t.same(await notices(), ['unused'], 'once')
  t.equal((await grantd.exchange(registered)).status, 200)
  await days(NOTICE_DAYS - 1)
  t.same(await notices(), ['unused'])
  await days(1)
  t.same(await notices(), ['unused', 'unused'])
  t.equal((await grantd.asAdmin('GET', registered.path)).json().enabled, true, 'it is never disabled by default')
  const [delivery] = await query(grantd.databaseUrl, 'select count(*)::int from notice_deliveries')
  t.same(delivery, { count: 2 }, 'each is delivered like any other notice')
})

t.test('an unused registration is disabled after its notice, which is audited, and never deleted', async t => {
  const { grantd, register, days, notices } = await start(t)
  const registered = await register()
  await days(DISABLE_DAYS - 1)
  t.equal((await grantd.asAdmin('GET', registered.path)).json().enabled, true)
  await days(1)
  t.match((await grantd.asAdmin('GET', registered.path)).json(), { enabled: false, disabledReason: 'unused' })
  t.equal((await grantd.exchange(registered)).status, 401)
  t.same(await notices(), ['unused', 'unused_disabled'])
  const { items } = (await grantd.asAdmin('GET', '/v1/sites/acme/audit-events')).json()
  t.match(items[0], {
    ...{ action: 'registration.changed', actor: 'unused registrations', subject: registered.clientId },
    changes: { enabled: { from: true, to: false } }
  })
  await days(200)
  t.equal((await grantd.asAdmin('GET', registered.path)).status, 200)
  t.same(await notices(), ['unused', 'unused_disabled'])
})

t.test('a use between notice and end keeps a registration, also on its last day', async t => {
  const { grantd, register, days } = await start(t)
  const registered = await register()
  await days(DISABLE_DAYS - 1)
  t.equal((await grantd.exchange(registered)).status, 200)
  await days(DISABLE_DAYS - 1)
  t.equal((await grantd.exchange(registered)).status, 200)
})

t.test('a registration that an administrator enables again has a whole quiet period before it', async t => {
  const { grantd, register, days } = await start(t)
  const registered = await register()
  await days(DISABLE_DAYS)
  t.equal((await grantd.asAdmin('PATCH', registered.path, { body: { enabled: true } })).status, 200)
  await days(DISABLE_DAYS - 1)
  t.match((await grantd.asAdmin('GET', registered.path)).json(), { enabled: true, disabledReason: null })
  await days(1)
  t.equal((await grantd.asAdmin('GET', registered.path)).json().enabled, false)
})

t.test('disabling an unused registration stops its tokens, and the audit event says so', async t => {
  const { grantd, register, days } = await start(t)
  const { path } = await register()
  t.equal((await grantd.asAdmin('GET', path)).json().tokensValidFrom, null)
  await days(DISABLE_DAYS)
  const { enabled, tokensValidFrom } = (await grantd.asAdmin('GET', path)).json()
  t.equal(enabled, false)
  t.match(tokensValidFrom, /:\d\d\.000Z$/)
  const [event] = (await grantd.asAdmin('GET', '/v1/sites/acme/audit-events?limit=1')).json().items
  t.same(event.changes, {
    enabled: { from: true, to: false },
    tokensValidFrom: { from: null, to: tokensValidFrom }
  })
})

t.test('registrations that may idle or introspect, are disabled or have expired are left alone', async t => {
  const { clock, grantd, register, days, notices } = await start(t)
  const yearly = await register({ mayIdle: true })
  const gateway = await register({ mayIntrospect: true })
  await register({ enabled: false })
  await register({ expiresAt: inDays(10, clock.time) })
  await days(DISABLE_DAYS + 10)
  t.same(await notices(), [])
  for (const client of [yearly, gateway]) t.equal((await grantd.exchange(client)).status, 200)
})

t.test('when a policy begins, no registration is disabled without a notice and the time after it', async t => {
  const { clock, grantd, register, days } = await start(t)
  const { path } = await register()
  clock.advance(300 * DAY_MS)
  await days(DISABLE_DAYS - NOTICE_DAYS)
  t.equal((await grantd.asAdmin('GET', path)).json().enabled, true)
  await days(1)
  t.equal((await grantd.asAdmin('GET', path)).json().enabled, false)
})

t.test('the time in which grantd or its database was away does not count as unused', async t => {
  const { clock, grantd, register, days, notices } = await start(t)
  const { path } = await register()
  await days(NOTICE_DAYS - 1)
  clock.advance(100 * DAY_MS)
  await days(1)
  t.same(await notices(), [], 'the first round after it only notes that it was away')
  await days(1)
  t.same(await notices(), ['unused'])
  clock.advance(100 * DAY_MS)
  await days(DISABLE_DAYS - NOTICE_DAYS)
  t.equal((await grantd.asAdmin('GET', path)).json().enabled, true)
  await days(1)
  t.equal((await grantd.asAdmin('GET', path)).json().enabled, false)
})

t.test('several instances that look at once send one notice, and disable once', async t => {
  const { clock, register, options, notices } = await start(t)
  for (let index = 0; index < 5; index++) await register()
  for (let day = 0; day <= DISABLE_DAYS; day++) {
    await Promise.all([1, 2, 3].map(() => lookForUnused(options)))
    clock.advance(DAY_MS)
  }
  const types = await notices()
  t.equal(types.filter(type => type === 'unused').length, 5)
  t.equal(types.filter(type => type === 'unused_disabled').length, 5)
})
