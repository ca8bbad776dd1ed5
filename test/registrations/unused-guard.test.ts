import t from 'tap'
import { type AppOptions, Clock, startApp } from '../fixtures/app/app.ts'
import { createDatabase, query, withClient } from '../fixtures/app/database.ts'
import { introspect } from '../fixtures/app/introspection.ts'
import { DAY_MS } from '../fixtures/app/registration.ts'
import { until } from '../fixtures/run/until.ts'

const HOUR_MS = DAY_MS / 24

/** An update of Last used that waits, within its transaction, until this advisory lock is free. */
const HOLD_UP_EXCHANGES = `
  create function hold_up() returns trigger language plpgsql security definer as $$
    begin
      while not pg_try_advisory_xact_lock_shared(7) loop perform pg_sleep(0.005); end loop;
      return null;
    end $$;
  create trigger hold_up after update on registration_last_used for each row execute function hold_up()`
const IS_WAITING = `
  select from pg_stat_activity where wait_event_type = 'Lock' and query like '%lock_last_used%' and datname = current_database()`

/** A registration whose secret was rotated, and what deletes it or its previous credential. */
async function rotated(t: Parameters<typeof startApp>[0], options: AppOptions = {}) {
  const clock = new Clock()
  const grantd = await startApp(t, { now: clock.now, ...options })
  const registered = await grantd.register()
  const rotation = await grantd.asAdmin('POST', `${registered.path}/rotate-secret`, {
    body: { overlapSeconds: 30 * 86_400 }
  })
  const current = { clientId: registered.clientId, clientSecret: rotation.json().clientSecret }
  return { clock, grantd, previous: registered, current, path: registered.path }
}

t.test(
  'a registration that was used within unusedFor is not deleted, and the answer says when it was used',
  async t => {
    const { clock, grantd, current, path } = await rotated(t)
    t.equal((await grantd.exchange(current)).status, 200)
    const lastUsedAt = new Date(clock.time).toISOString()
    clock.advance(7 * DAY_MS - 1)
    const refused = await grantd.asAdmin('DELETE', `${path}?unusedFor=P7D`)
    t.equal(refused.headers['content-type'], 'application/problem+json')
    const detail = 'It was used within "unusedFor", at the latest at "lastUsedAt".'
    t.match(refused.json(), { status: 409, code: 'recently_used', detail, lastUsedAt })
    t.equal((await grantd.asAdmin('GET', path)).status, 200)
    clock.advance(1)
    t.equal((await grantd.asAdmin('DELETE', `${path}?unusedFor=P7D`)).status, 204)
    t.equal((await grantd.exchange(current)).status, 401)
  }
)

t.test('a registration that was never used is as old as its registration', async t => {
  const clock = new Clock()
  const grantd = await startApp(t, { now: clock.now })
  const { path } = await grantd.register()
  clock.advance(36 * HOUR_MS - 1)
  const refused = await grantd.asAdmin('DELETE', `${path}?unusedFor=PT36H`)
  t.match(refused.json(), { code: 'recently_used', lastUsedAt: null })
  clock.advance(1)
  t.equal((await grantd.asAdmin('DELETE', `${path}?unusedFor=P1DT12H`)).status, 204)
})

t.test('a previous credential is retired by its own use, not by that of the current one', async t => {
  const { clock, grantd, previous, current, path } = await rotated(t)
  const retire = (unusedFor: string) => grantd.asAdmin('DELETE', `${path}/previous-credential?unusedFor=${unusedFor}`)
  clock.advance(DAY_MS)
  t.equal((await grantd.exchange(previous)).status, 200)
  const lastUsedAt = new Date(clock.time).toISOString()
  clock.advance(2 * DAY_MS)
  t.equal((await grantd.exchange(current)).status, 200)
  t.match((await retire('P3D')).json(), { status: 409, code: 'recently_used', lastUsedAt })
  t.equal((await grantd.exchange(previous)).status, 200, 'it is still accepted')
  clock.advance(3 * DAY_MS)
  t.equal((await grantd.exchange(current)).status, 200)
  t.equal((await retire('P3D')).status, 204)
  t.equal((await grantd.exchange(previous)).status, 401)
  t.equal((await retire('P3D')).status, 404)
})

t.test('a previous credential that was never used is as old as its creation', async t => {
  const { clock, grantd, path } = await rotated(t)
  const retire = () => grantd.asAdmin('DELETE', `${path}/previous-credential?unusedFor=P2D`)
  t.match((await retire()).json(), { code: 'recently_used', lastUsedAt: null })
  clock.advance(2 * DAY_MS)
  t.equal((await retire()).status, 204)
})

t.test('unusedFor is an ISO 8601 duration in days and hours from PT1H to P400D, and nothing else', async t => {
  const { grantd, path } = await rotated(t)
  const paths = [path, `${path}/previous-credential`]
  const detail = 'must be days and hours from PT1H to P400D, for example P7D or P1DT12H'
  for (const target of paths) {
    for (const unusedFor of ['PT1H', 'P400D', 'PT9600H', 'P399DT24H', 'P1DT1H', 'P007D']) {
      t.equal((await grantd.asAdmin('DELETE', `${target}?unusedFor=${unusedFor}`)).status, 409, unusedFor)
    }
    for (const unusedFor of [
      ...['', 'P0D', 'PT0H', 'P0DT0H', 'P401D', 'PT9601H', 'P400DT1H', 'P1W', 'P1M', 'P1Y', 'PT30M', 'P', 'PT', 'P1DT'],
      ...['p7d', '7', '7D', '-P7D', 'P-7D', 'P1.5D', 'P1,5D', 'P7D ', 'P7D%00', 'PT1H30M', 'P99999D', '٧']
    ]) {
      const answer = await grantd.asAdmin('DELETE', `${target}?unusedFor=${encodeURI(unusedFor)}`)
      t.equal(answer.status, 400, unusedFor)
      t.match(answer.json().errors, [{ parameter: 'unusedFor', code: 'invalid_value', detail }], unusedFor)
    }
    const twice = await grantd.asAdmin('DELETE', `${target}?unusedFor=P7D&unusedFor=P8D`)
    t.match(twice.json(), { status: 400, errors: [{ parameter: 'unusedFor', code: 'wrong_type' }] })
  }
})

t.test('If-Match and unusedFor must both hold', async t => {
  const { clock, grantd, path } = await rotated(t)
  const remove = async (ifMatch: string) =>
    (await grantd.asAdmin('DELETE', `${path}?unusedFor=P1D`, { headers: { 'if-match': ifMatch } })).status
  t.same([await remove('"1"'), await remove('"2"')], [412, 409])
  clock.advance(DAY_MS)
  t.same([await remove('"1"'), await remove('"2"')], [412, 204])
})

t.test('a guarded deletion waits for the exchange that another instance is committing, and sees it', async t => {
  const databaseUrl = await createDatabase(t)
  const { grantd, previous, path } = await rotated(t, { databaseUrl, now: Date.now })
  const exchanging = await startApp(t, { databaseUrl })
  t.equal((await exchanging.exchange(previous)).status, 200)
  await query(databaseUrl, "update registration_last_used set last_used_at = now() - interval '9 days'")
  await query(databaseUrl, 'update registration_last_used set odd_credential_used_at = last_used_at')
  await query(databaseUrl, HOLD_UP_EXCHANGES)
  for (const target of [path, `${path}/previous-credential`]) {
    await withClient(databaseUrl, async client => {
      await client.query('begin')
      await client.query('select pg_advisory_xact_lock(7)')
      const exchange = exchanging.exchange(previous)
      await until('the exchange is being committed', async () => {
        const { rows } = await client.query(`select from pg_stat_activity where wait_event = 'PgSleep'`)
        return rows.length > 0
      })
      const deletion = grantd.asAdmin('DELETE', `${target}?unusedFor=P7D`)
      await until('the deletion waits for it', async () => (await query(databaseUrl, IS_WAITING)).length > 0)
      await client.query('commit')
      t.equal((await exchange).status, 200)
      const { lastUsedAt } = (await grantd.asAdmin('GET', path)).json()
      t.match((await deletion).json(), { code: 'recently_used', lastUsedAt })
    })
    await query(databaseUrl, "update registration_last_used set last_used_at = now() - interval '9 days'")
    await query(databaseUrl, 'update registration_last_used set odd_credential_used_at = last_used_at')
  }
})

t.test('exchanges and guarded deletions of many registrations at once never block each other for good', async t => {
  const databaseUrl = await createDatabase(t)
  const instances = [await startApp(t, { databaseUrl }), await startApp(t, { databaseUrl })] as const
  const registered = await Promise.all(Array.from({ length: 20 }, () => instances[0].register()))
  for (const each of registered) for (const instance of instances) await instance.exchange(each)
  const results = await Promise.all(
    registered.map(async (each, index) => {
      const [one, other] = index % 2 === 0 ? instances : [instances[1], instances[0]]
      const exchanges = [one.exchange(each), other.exchange(each)]
      const deletion = await other.asAdmin('DELETE', `${each.path}?unusedFor=P1D`)
      return [deletion.status, ...(await Promise.all(exchanges)).map(({ status }) => status)]
    })
  )
  for (const statuses of results) t.same(statuses, [409, 200, 200])
})

t.test(
  'a registration with mayIntrospect is never known to be unused, because introspections are not recorded',
  async t => {
    const { clock, grantd, previous, current, path } = await rotated(t)
    t.equal((await grantd.exchange(previous)).status, 200)
    const lastUsedAt = new Date(clock.time).toISOString()
    await grantd.asAdmin('PATCH', path, { body: { mayIntrospect: true } })
    clock.advance(20 * DAY_MS)
    const detail = /introspections/
    for (const target of [path, `${path}/previous-credential`]) {
      const refused = await grantd.asAdmin('DELETE', `${target}?unusedFor=P7D`)
      t.match(refused.json(), { status: 409, code: 'recently_used', detail, lastUsedAt })
    }
    for (const client of [previous, current]) t.equal((await introspect(grantd, client, 'x')).status, 200)
    t.equal((await grantd.asAdmin('DELETE', `${path}/previous-credential`)).status, 204)
    t.equal((await grantd.asAdmin('DELETE', path)).status, 204)
  }
)

t.test('where exchanges are not recorded, nothing is known to be unused', async t => {
  const { clock, grantd, path } = await rotated(t, { recordsUse: false })
  clock.advance(20 * DAY_MS)
  for (const target of [path, `${path}/previous-credential`]) {
    t.match((await grantd.asAdmin('DELETE', `${target}?unusedFor=P7D`)).json(), { code: 'recently_used' })
    t.equal((await grantd.asAdmin('DELETE', target)).status, target === path ? 204 : 404)
  }
})

// [SITE-22]
t.test('a Site locks no Last used but its own', async t => {
  const grantd = await startApp(t)
  const { clientId } = await grantd.register({}, 'umbrella')
  await withClient(grantd.databaseUrl, async client => {
    for (const [site, rows] of [
      ['acme', 0],
      ['umbrella', 1]
    ] as const) {
      await client.query('begin')
      await client.query('set local role grantd_serving')
      await client.query(`select set_config('grantd.site_id', $1, true)`, [site])
      const locked = await client.query('select * from lock_last_used($1)', [clientId])
      t.equal(locked.rows.length, rows, site)
      const seen = await client.query(`select current_setting('grantd.site_id') as site`)
      t.same(seen.rows, [{ site }], 'the session sees no more than before')
      await client.query('rollback')
    }
  })
})
