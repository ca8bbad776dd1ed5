import { decodeJwt } from 'jose'
import t, { type Test } from 'tap'
import { DatabaseClock } from '../../../src/database/clock.ts'
import { startApp } from '../../fixtures/app/app.ts'
import { createDatabase, openTestDatabase, query } from '../../fixtures/app/database.ts'
import type { Grantd } from '../../fixtures/app/grantd.ts'
import { introspect } from '../../fixtures/app/introspection.ts'
import { COLLECTION, inDays, issuedAtOf } from '../../fixtures/app/registration.ts'

const MINUTE_MS = 60_000

/** Two instances on one database. The clock of the first is ahead by this much, and that of the second is behind. */
async function startSkewed(t: Test, skewMs: number) {
  const databaseUrl = await createDatabase(t)
  const clock = new DatabaseClock(openTestDatabase(t, databaseUrl))
  await clock.refresh()
  const start = (ms: number) =>
    startApp(t, { databaseUrl, now: () => Date.now() + ms, databaseEstimate: clock.estimate })
  return { ahead: await start(skewMs), behind: await start(-skewMs) }
}

async function databaseSeconds({ databaseUrl }: Grantd): Promise<number> {
  const [row] = await query(databaseUrl, `select date_trunc('second', clock_timestamp()) as now`)
  return Object(row).now.getTime()
}

t.test('no token has an "iat" in the future, also from an instance whose clock is ahead (RFC 9068 §2.2)', async t => {
  const { ahead } = await startSkewed(t, 10 * MINUTE_MS)
  const client = await ahead.register({ expiresAt: inDays(1) })
  // The second time, the instance has the client in its cache.
  for (let time = 0; time < 2; time++) {
    const earliest = await databaseSeconds(ahead)
    const issuedAt = issuedAtOf(await ahead.exchange(client))
    const latest = await databaseSeconds(ahead)
    // The estimate may be behind by the time that an answer of the database takes.
    t.ok(issuedAt >= earliest - 1_000 && issuedAt <= latest)
  }
})

// [STOP-4]
t.test('a cut-off stops every token before it and none after it, whatever the clocks of the instances', async t => {
  const { ahead, behind } = await startSkewed(t, 10 * MINUTE_MS)
  const client = await behind.register({ expiresAt: inDays(1) })
  for (const [revoking, other] of [
    [ahead, behind],
    [behind, ahead],
    [behind, behind]
  ] as const) {
    const before = [issuedAtOf(await ahead.exchange(client)), issuedAtOf(await behind.exchange(client))]
    const answer = await revoking.asAdmin('POST', `${client.path}/revoke-tokens`)
    const cutOff = Date.parse(answer.json().tokensValidFrom)
    for (const issuedAt of before) t.ok(issuedAt < cutOff)
    for (const grantd of [other, revoking, other]) {
      const issuedAt = issuedAtOf(await grantd.exchange(client))
      t.ok(issuedAt >= cutOff, `${issuedAt - cutOff} ms after the cut-off`)
      t.ok(issuedAt <= (await databaseSeconds(grantd)))
    }
  }
})

// [STOP-5]
t.test(
  'tokens that are asked for in the second before a cut-off are on one side of it, and are never early',
  async t => {
    const { ahead, behind } = await startSkewed(t, MINUTE_MS)
    const client = await ahead.register({ expiresAt: inDays(1) })
    for (const grantd of [ahead, behind]) await grantd.exchange(client)
    let isRevoked = false
    const seen: { asked: 'before' | 'after'; issuedAt: number; latest: number }[] = []
    const consume = async (grantd: Grantd) => {
      for (let left = 30; left > 0; left -= isRevoked ? 1 : 0) {
        const asked = isRevoked ? 'after' : 'before'
        const issuedAt = issuedAtOf(await grantd.exchange(client))
        seen.push({ asked, issuedAt, latest: await databaseSeconds(grantd) })
      }
    }
    const consumers = [ahead, behind, ahead, behind].map(consume)
    const answer = await ahead.asAdmin('POST', `${client.path}/revoke-tokens`)
    isRevoked = true
    await Promise.all(consumers)
    const cutOff = Date.parse(answer.json().tokensValidFrom)
    t.ok(seen.some(({ asked }) => asked === 'before'))
    for (const { asked, issuedAt, latest } of seen) {
      t.ok(issuedAt <= latest, 'never dated in the future')
      if (asked === 'after') t.ok(issuedAt >= cutOff, 'active when asked for after the answer')
    }
  }
)

t.test('an exchange in the second of the cut-off waits until its token is active, cached or not', async t => {
  const grantd = await startApp(t)
  const client = await grantd.register()
  await grantd.exchange(client)
  await grantd.asAdmin('PATCH', client.path, { body: { enabled: false } })
  const enabled = await grantd.asAdmin('PATCH', client.path, { body: { enabled: true } })
  const cutOff = Date.parse(enabled.json().tokensValidFrom)
  const answers = await Promise.all(Array.from({ length: 10 }, () => grantd.exchange(client)))
  for (const answer of answers) t.ok(issuedAtOf(answer) >= cutOff)
  t.ok(cutOff <= (await databaseSeconds(grantd)), 'it has come')
})

t.test('a client that introspects in the second of its cut-off gets no token before it has come', async t => {
  const grantd = await startApp(t)
  const client = await grantd.register({ mayIntrospect: true })
  await grantd.asAdmin('PATCH', client.path, { body: { enabled: false } })
  await grantd.asAdmin('PATCH', client.path, { body: { enabled: true } })
  t.equal((await introspect(grantd, client, 'no token')).status, 200)
  const issuedAt = issuedAtOf(await grantd.exchange(client))
  t.ok(issuedAt <= (await databaseSeconds(grantd)), 'it is not dated in the future')
})

t.test('without an estimate of the time of the database, the clock of the instance counts', async t => {
  const now = Date.now() - 10 * MINUTE_MS
  const grantd = await startApp(t, { now: () => now })
  const client = await grantd.register()
  t.equal(issuedAtOf(await grantd.exchange(client)), Math.floor(now / 1_000) * 1_000)
})

t.test('tokenLifetimeSeconds is the lifetime of new tokens, on every instance from the next request on', async t => {
  const one = await startApp(t, { environment: { ACCESS_TOKEN_TTL_SECONDS: '600' } })
  const other = await startApp(t, {
    environment: { ACCESS_TOKEN_TTL_SECONDS: '600' },
    databaseUrl: one.databaseUrl
  })
  const client = await one.register()
  for (const [tokenLifetimeSeconds, expected] of [
    [null, 600],
    [60, 60],
    [599, 599],
    [600, 600],
    [null, 600]
  ]) {
    const changed = await one.asAdmin('PATCH', client.path, { body: { tokenLifetimeSeconds } })
    t.equal(changed.json().tokenLifetimeSeconds, tokenLifetimeSeconds, changed.text)
    for (const grantd of [one, other, other]) {
      const { access_token, expires_in } = (await grantd.exchange(client)).json()
      const { iat = 0, exp = 0 } = decodeJwt(access_token)
      t.same([expires_in, exp - iat], [expected, expected])
    }
  }
})

t.test('tokenLifetimeSeconds is bounded by ACCESS_TOKEN_TTL_SECONDS, now and later, and by the expiry', async t => {
  const one = await startApp(t, { environment: { ACCESS_TOKEN_TTL_SECONDS: '600' } })
  const shorter = await startApp(t, {
    environment: { ACCESS_TOKEN_TTL_SECONDS: '120' },
    databaseUrl: one.databaseUrl
  })
  const client = await one.register({ tokenLifetimeSeconds: 300 })
  t.equal((await one.exchange(client)).json().expires_in, 300)
  t.equal((await shorter.exchange(client)).json().expires_in, 120, 'the operator may lower it afterwards')
  t.equal((await shorter.asAdmin('PATCH', client.path, { body: { name: 'renamed' } })).status, 200)
  await one.asAdmin('PATCH', client.path, { body: { expiresAt: new Date(Date.now() + 90_000).toISOString() } })
  t.ok((await one.exchange(client)).json().expires_in <= 90)
  for (const tokenLifetimeSeconds of [601, 59, 0, -1, 3_601, 60.5, '60', true, [60], {}]) {
    for (const answer of [
      await one.asAdmin('PATCH', client.path, { body: { tokenLifetimeSeconds } }),
      await one.asAdmin('POST', COLLECTION, { body: { name: 'x', expiresAt: inDays(1), tokenLifetimeSeconds } })
    ]) {
      t.equal(answer.status, 400)
      const [fault, ...more] = answer.json().errors
      t.match(fault, { pointer: '/tokenLifetimeSeconds', detail: /^must be / })
      t.same(more, [])
    }
  }
  t.equal((await one.asAdmin('GET', client.path)).json().tokenLifetimeSeconds, 300)
})
