import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { Sweep } from '../../../src/notifications/sweep/sweep.ts'
import { Clock } from '../../fixtures/app/app.ts'
import { asServingRole, createDatabase, openTestDatabase, query, withClient } from '../../fixtures/app/database.ts'
import { DAY_MS } from '../../fixtures/app/registration.ts'
import { insertRegistrationRow } from '../../fixtures/app/registration-row.ts'
import { until } from '../../fixtures/run/until.ts'
import { dueStep } from '../due-step.ts'

const STEPS = [30, 7, 0]

/** Sweeps of as many instances as asked for, each with its own pool, on one database and one clock. */
async function startSweeps(t: Test, instances = 1, steps = STEPS, retentionDays = 0) {
  const clock = new Clock()
  const databaseUrl = await createDatabase(t)
  const sweeps = Array.from({ length: instances }, () => {
    const db = openTestDatabase(t, asServingRole(databaseUrl))
    return new Sweep({ db, steps, serviceKinds: [], retentionDays, databaseNow: async () => clock.time })
  })
  const run = async () => (await Promise.all(sweeps.map(sweep => sweep.run()))).reduce((sum, made) => sum + made, 0)
  return { clock, databaseUrl, run }
}

async function fired(databaseUrl: string): Promise<string[]> {
  const rows = await query(databaseUrl, 'select name, step from notices order by fired_at, name, step desc')
  return rows.map(Object).map(({ name, step }) => `${name} ${step}`)
}

t.test('each step fires once, with any number of instances that sweep at once (spec 30)', async t => {
  const { clock, databaseUrl, run } = await startSweeps(t, 4)
  const start = clock.time
  for (const [name, days] of [
    ['a', 31],
    ['b', 35],
    ['c', 8],
    ['d', 90]
  ] as const) {
    await insertRegistrationRow(databaseUrl, { name, expiresAt: start + days * DAY_MS, armedAt: start })
  }
  for (let day = 0; day <= 40; day++) {
    clock.time = start + day * DAY_MS
    await run()
    t.equal(await run(), 0, 'nothing is left to fire')
  }
  t.same(await fired(databaseUrl), ['a 30', 'c 7', 'b 30', 'c 0', 'a 7', 'b 7', 'a 0', 'b 0'])
})

t.test('after a downtime only the latest due step fires (spec 30)', async t => {
  const { clock, databaseUrl, run } = await startSweeps(t)
  const armedAt = clock.time
  for (const [name, days] of [
    ['in 25 days', 125],
    ['in 3 days', 103],
    ['just expired', 100],
    ['long expired', 40]
  ] as const) {
    await insertRegistrationRow(databaseUrl, { name, expiresAt: armedAt + days * DAY_MS, armedAt })
  }
  clock.advance(100 * DAY_MS)
  t.equal(await run(), 4)
  t.same((await fired(databaseUrl)).sort(), ['in 25 days 30', 'in 3 days 7', 'just expired 0', 'long expired 0'])
})

t.test('a step that was already past at creation or renewal does not fire (spec 31)', async t => {
  const { clock, databaseUrl, run } = await startSweeps(t)
  await insertRegistrationRow(databaseUrl, { expiresAt: clock.time + 5 * DAY_MS, armedAt: clock.time })
  clock.advance(DAY_MS)
  t.equal(await run(), 0)
  clock.advance(4 * DAY_MS)
  await run()
  t.same(await fired(databaseUrl), ['a service 0'])
})

t.test('a renewal arms the cadence for the new expiry and keeps the notices of the old one (spec 31)', async t => {
  const { clock, databaseUrl, run } = await startSweeps(t)
  await insertRegistrationRow(databaseUrl, { expiresAt: clock.time + 31 * DAY_MS, armedAt: clock.time })
  clock.advance(DAY_MS)
  await run()
  const renew = (days: number) =>
    query(databaseUrl, 'update registrations set expires_at = $1, expiry_set_at = $2', [
      new Date(clock.time + days * DAY_MS),
      new Date(clock.time)
    ])
  await renew(40)
  clock.advance(9 * DAY_MS)
  t.equal(await run(), 0)
  clock.advance(DAY_MS)
  await run()
  clock.advance(30 * DAY_MS)
  await run()
  t.same(await fired(databaseUrl), ['a service 30', 'a service 30', 'a service 0'])
  await renew(40)
  clock.advance(40 * DAY_MS)
  await run()
  t.equal((await fired(databaseUrl)).length, 4, 'after expiry too')
})

t.test('a registration that is being renewed or deleted does not fire and does not hold up the others', async t => {
  const { clock, databaseUrl, run } = await startSweeps(t)
  const at = { expiresAt: clock.time + 30 * DAY_MS, armedAt: clock.time - DAY_MS }
  await insertRegistrationRow(databaseUrl, { ...at, name: 'held' })
  await insertRegistrationRow(databaseUrl, { ...at, name: 'free' })
  await withClient(databaseUrl, async client => {
    await client.query('begin')
    await client.query("update registrations set expires_at = expires_at + interval '1 year' where name = 'held'")
    await run()
    t.same(await fired(databaseUrl), ['free 30'])
    await client.query('commit')
  })
  await run()
  t.same(await fired(databaseUrl), ['free 30'], 'it was renewed')
})

t.test(
  'a renewal waits for a sweep that is creating its notice, so no notice of the old expiry follows it',
  async t => {
    const { clock, databaseUrl, run } = await startSweeps(t)
    await insertRegistrationRow(databaseUrl, { expiresAt: clock.time + 7 * DAY_MS, armedAt: clock.time - DAY_MS })
    await query(
      databaseUrl,
      `create function dawdle() returns trigger language plpgsql as $$ begin perform pg_sleep(0.5); return new; end $$;
     create trigger dawdle before insert on notices for each row execute function dawdle()`
    )
    const sweeping = run()
    await until('it is inserting', async () => {
      const rows = await query(
        databaseUrl,
        "select from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()"
      )
      return rows.length > 0
    })
    await query(databaseUrl, "update registrations set expires_at = expires_at + interval '1 year'")
    t.same(await fired(databaseUrl), ['a service 7'], 'it was told before')
    t.equal(await sweeping, 1)
    t.equal(await run(), 0)
  }
)

t.test('the sweep decides as the rule of the cadence says, for rows at and around every boundary', async t => {
  const { clock, databaseUrl, run } = await startSweeps(t)
  const expected: string[] = []
  for (const step of [...STEPS, 15]) {
    for (const expiryMs of [-1, 0, 1]) {
      for (const armedMs of [-1, 0, 1]) {
        const expiresAt = clock.time + step * DAY_MS + expiryMs
        const armedAt = expiresAt - step * DAY_MS + armedMs
        const name = `${step} ${expiryMs} ${armedMs}`
        await insertRegistrationRow(databaseUrl, { name, expiresAt, armedAt })
        const due = dueStep(STEPS, { expiresAt, armedAt }, clock.time)
        if (due !== undefined) expected.push(`${name} ${due}`)
      }
    }
  }
  await run()
  t.ok(expected.length > 5)
  t.same((await fired(databaseUrl)).sort(), expected.sort())
})

t.test('a changed NOTICE_DAYS fires its own days, and no earlier step after a later one', async t => {
  const first = await startSweeps(t, 1, [60, 1])
  const { clock, databaseUrl } = first
  await insertRegistrationRow(databaseUrl, { expiresAt: clock.time + 61 * DAY_MS, armedAt: clock.time })
  clock.advance(DAY_MS)
  await first.run()
  clock.advance(59 * DAY_MS)
  await first.run()
  t.same(await fired(databaseUrl), ['a service 60', 'a service 1'])
  const db = openTestDatabase(t, databaseUrl)
  const second = new Sweep({
    db,
    steps: STEPS,
    serviceKinds: [],
    retentionDays: 0,
    databaseNow: async () => clock.time
  })
  t.equal(await second.run(), 0, 'not an earlier step after a later one')
})

t.test(
  'each receiver of the Site that wants the step, and each receiver of the configuration, gets a delivery',
  async t => {
    const { clock, databaseUrl } = await startSweeps(t)
    const ids = {
      all: randomUUID(),
      seven: randomUUID(),
      thirty: randomUUID(),
      foreign: randomUUID()
    }
    for (const [id, site, steps] of [
      [ids.all, 'acme', null],
      [ids.seven, 'acme', [7, 0]],
      [ids.thirty, 'acme', [30]],
      [ids.foreign, 'umbrella', null]
    ] as const) {
      await query(
        databaseUrl,
        `insert into notice_receivers (id, site_id, kind, target, steps, created_at)
       values ($1, $2, 'mail', '{"addresses": ["a@b"]}', $3, now())`,
        [id, site, steps]
      )
    }
    await insertRegistrationRow(databaseUrl, { expiresAt: clock.time + 7 * DAY_MS, armedAt: clock.time - DAY_MS })
    const sweep = new Sweep({
      db: openTestDatabase(t, asServingRole(databaseUrl)),
      steps: STEPS,
      serviceKinds: ['webhook'],
      retentionDays: 0,
      databaseNow: async () => clock.time
    })
    await sweep.run()
    const rows = await query(
      databaseUrl,
      'select receiver_id, kind, state, site_id, queue from notice_deliveries order by queue'
    )
    t.same(
      rows,
      [
        { receiver_id: ids.all, kind: 'mail', state: 'pending', site_id: 'acme', queue: ids.all },
        { receiver_id: ids.seven, kind: 'mail', state: 'pending', site_id: 'acme', queue: ids.seven },
        { receiver_id: null, kind: 'webhook', state: 'pending', site_id: 'acme', queue: 'webhook' }
      ].sort((one, other) => (one.queue < other.queue ? -1 : 1))
    )
  }
)

t.test('a sweep between two full sweeps finds what has come to a step since the previous one', async t => {
  const { clock, databaseUrl, run } = await startSweeps(t, 2)
  const minute = 60_000
  for (const [name, step] of [
    ['thirty', 30],
    ['seven', 7],
    ['none', 0]
  ] as const) {
    const expiresAt = clock.time + step * DAY_MS + 25 * minute
    await insertRegistrationRow(databaseUrl, { name, expiresAt, armedAt: clock.time - DAY_MS })
  }
  await run()
  const times: string[] = []
  for (let minutes = 10; minutes <= 50; minutes += 10) {
    clock.advance(10 * minute)
    if ((await run()) > 0) times.push(`after ${minutes} minutes`)
  }
  t.same(times, ['after 30 minutes'])
  t.same((await fired(databaseUrl)).sort(), ['none 0', 'seven 7', 'thirty 30'])
})

t.test('more notices than fit in one transaction all fire, also when they have one expiry', async t => {
  const { clock, databaseUrl, run } = await startSweeps(t, 2)
  const armedAt = new Date(clock.time - DAY_MS)
  await query(
    databaseUrl,
    `insert into registrations (client_id, site_id, name, name_folded, secret_hash, secret_mac, secret_mac_key_id, secret_created_at, scopes, enabled,
       registered_at, expires_at, expiry_set_at)
     select substr(md5(n::text), 1, 20), 'acme', 'a', 'a', '$argon2id$', decode(repeat('00', 32), 'hex'), 'none', $1, '{}', true, $1, $2, $1
       from generate_series(1, 4500) n`,
    [armedAt, new Date(clock.time + 7 * DAY_MS)]
  )
  t.equal(await run(), 4_500)
  t.equal(new Set(await query(databaseUrl, 'select client_id from notices')).size, 4_500)
  t.equal(await run(), 0)
})

t.test('after the clock of the database was ahead, a new registration still fires', async t => {
  const { clock, databaseUrl, run } = await startSweeps(t)
  const start = clock.time
  clock.advance(40 * DAY_MS)
  await run()
  clock.time = start
  await insertRegistrationRow(databaseUrl, { expiresAt: start + 8 * DAY_MS, armedAt: start })
  clock.advance(DAY_MS)
  await run()
  t.same(await fired(databaseUrl), ['a service 7'])
})

t.test('an old notice is deleted with its deliveries, once no registration has its expiry', async t => {
  const { clock, databaseUrl, run } = await startSweeps(t, 2, STEPS, 400)
  await query(
    databaseUrl,
    `insert into notice_receivers (id, site_id, kind, target, created_at)
     values (gen_random_uuid(), 'acme', 'mail', '{"addresses": ["ops@example.com"]}', now())`
  )
  for (const name of ['renewed', 'deleted', 'left']) {
    await insertRegistrationRow(databaseUrl, { name, expiresAt: clock.time + 7 * DAY_MS, armedAt: clock.time - DAY_MS })
  }
  const counts = async () => {
    await run()
    const [row] = await query(
      databaseUrl,
      `select (select count(*)::int from notices) as notices, (select count(*)::int from notice_deliveries) as deliveries`
    )
    return row
  }
  t.same(await counts(), { notices: 3, deliveries: 3 })
  await query(databaseUrl, "update registrations set expires_at = $1, expiry_set_at = $2 where name = 'renewed'", [
    new Date(clock.time + 3_000 * DAY_MS),
    new Date(clock.time)
  ])
  await query(databaseUrl, "delete from registrations where name = 'deleted'")
  clock.advance(7 * DAY_MS)
  t.same(await counts(), { notices: 4, deliveries: 4 }, 'the one that is left has expired')
  clock.advance(400 * DAY_MS)
  t.same(await counts(), { notices: 4, deliveries: 4 }, 'not on the last day')
  clock.advance(DAY_MS)
  t.same(await counts(), { notices: 2, deliveries: 2 })
  t.same((await fired(databaseUrl)).sort(), ['left 0', 'left 7'], 'and no step of it fires again')
  clock.advance(1_000 * DAY_MS)
  t.same(await counts(), { notices: 2, deliveries: 2 }, 'as long as the registration is there')
  await query(databaseUrl, "delete from registrations where name = 'left'")
  clock.advance(DAY_MS)
  t.same(await counts(), { notices: 0, deliveries: 0 })
})

t.test('a notice that fired lately is kept, however old its expiry', async t => {
  const { clock, databaseUrl, run } = await startSweeps(t, 1, STEPS, 400)
  await insertRegistrationRow(databaseUrl, { expiresAt: clock.time - 900 * DAY_MS, armedAt: clock.time - 950 * DAY_MS })
  t.equal(await run(), 1)
  await query(databaseUrl, 'delete from registrations')
  clock.advance(DAY_MS)
  await run()
  t.equal((await fired(databaseUrl)).length, 1)
})

t.test('an expiry that is moved away and back fires no step again, even when its notice was deleted', async t => {
  const { clock, databaseUrl, run } = await startSweeps(t, 1, [900, 0])
  const expiresAt = clock.time + 900 * DAY_MS
  await insertRegistrationRow(databaseUrl, { expiresAt, armedAt: clock.time - DAY_MS })
  t.equal(await run(), 1)
  const move = (to: number) =>
    query(databaseUrl, 'update registrations set expires_at = $1, expiry_set_at = $2', [
      new Date(to),
      new Date(clock.time)
    ])
  clock.advance(10 * DAY_MS)
  await move(expiresAt + DAY_MS)
  await query(databaseUrl, 'delete from notices')
  clock.advance(10 * DAY_MS)
  await run()
  await move(expiresAt)
  t.equal(await run(), 0)
})

t.test('old notices are deleted in batches, and a retention of 0 keeps all', async t => {
  for (const [days, left] of [
    [0, 2_500],
    [400, 0]
  ] as const) {
    const { clock, databaseUrl, run } = await startSweeps(t, 2, STEPS, days)
    const at = new Date(clock.time - 500 * DAY_MS)
    await query(
      databaseUrl,
      `insert into notices
       select gen_random_uuid(), 'acme', substr(md5(n::text), 1, 20), 'a', true, $1, 0, $1 from generate_series(1, 2500) n`,
      [at]
    )
    await run()
    t.equal((await fired(databaseUrl)).length, left, `${days} days`)
  }
})
