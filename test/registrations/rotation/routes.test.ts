import t from 'tap'
import { Registry } from '../../../src/metrics/registry.ts'
import { Clock, startApp } from '../../fixtures/app/app.ts'
import { createDatabase, query } from '../../fixtures/app/database.ts'
import type { Grantd } from '../../fixtures/app/grantd.ts'
import { introspect, registerGateway, tokenOf } from '../../fixtures/app/introspection.ts'
import { capturedLog } from '../../fixtures/app/log.ts'
import { DAY_MS } from '../../fixtures/app/registration.ts'
import { proxyPostgres } from '../../fixtures/faults/tcp-proxy.ts'
import { until } from '../../fixtures/run/until.ts'

interface Registered {
  clientId: string
  clientSecret: string
  path: string
}

async function rotate(grantd: Grantd, { clientId, path }: Registered, overlapSeconds?: number): Promise<Registered> {
  const answer = await grantd.asAdmin('POST', `${path}/rotate-secret`, {
    ...(overlapSeconds !== undefined && { body: { overlapSeconds } })
  })
  if (answer.status !== 201) throw new Error(answer.text)
  return { clientId, path, clientSecret: answer.json().clientSecret }
}

const read = async (grantd: Grantd, { path }: Registered) => (await grantd.asAdmin('GET', path)).json()

t.test('after a rotation both secrets are accepted, by default for a day, on every instance', async t => {
  const clock = new Clock()
  const one = await startApp(t, { now: clock.now })
  const other = await startApp(t, { now: clock.now, databaseUrl: one.databaseUrl })
  const old = await one.register({ scopes: ['a'] })
  for (const grantd of [one, other]) t.equal((await grantd.exchange(old)).status, 200)
  const before = await read(one, old)
  t.equal(before.previousCredential, null)

  clock.advance(60_000)
  const answer = await one.asAdmin('POST', `${old.path}/rotate-secret`)
  t.equal(answer.status, 201)
  t.equal(answer.headers['cache-control'], 'no-store')
  t.equal(answer.headers['etag'], '"2"')
  const { clientSecret, ...registration } = answer.json()
  t.match(registration, {
    clientId: old.clientId,
    expiresAt: before.expiresAt,
    credential: { kind: 'secret', createdAt: new Date(clock.time).toISOString(), lastUsedAt: null },
    previousCredential: {
      createdAt: before.registeredAt,
      expiresAt: new Date(clock.time + DAY_MS).toISOString(),
      lastUsedAt: before.lastUsedAt
    }
  })
  t.same(await read(other, old), registration, 'and the secret is told this once')
  const fresh = { ...old, clientSecret }
  for (const grantd of [one, other]) {
    for (const secret of [old, fresh, old, fresh]) t.equal((await grantd.exchange(secret)).status, 200)
  }

  clock.advance(DAY_MS - 1)
  for (const grantd of [one, other]) t.equal((await grantd.exchange(old)).status, 200)
  clock.advance(1)
  for (const grantd of [one, other]) {
    t.equal((await grantd.exchange(old)).status, 401)
    t.equal((await grantd.exchange(fresh)).status, 200)
  }
  t.equal((await read(one, old)).previousCredential, null)
})

t.test('a registration shows when each of its credentials was last used', async t => {
  const clock = new Clock()
  const grantd = await startApp(t, { now: clock.now })
  const first = await grantd.register()
  const use = async (registered: Registered) => {
    clock.advance(1_000)
    t.equal((await grantd.exchange(registered)).status, 200)
    return new Date(clock.time).toISOString()
  }
  const firstAt = await use(first)
  const second = await rotate(grantd, first, 3_600)
  t.match(await read(grantd, first), { credential: { lastUsedAt: null }, previousCredential: { lastUsedAt: firstAt } })
  const secondAt = await use(second)
  const laterAt = await use(first)
  t.match(await read(grantd, first), {
    lastUsedAt: laterAt,
    credential: { lastUsedAt: secondAt },
    previousCredential: { lastUsedAt: laterAt }
  })
  const latestAt = await use(second)
  t.match(await read(grantd, first), {
    lastUsedAt: latestAt,
    credential: { lastUsedAt: latestAt },
    previousCredential: { lastUsedAt: laterAt }
  })
  clock.advance(3_600_000)
  const third = await rotate(grantd, first, 3_600)
  t.match(await read(grantd, first), { credential: { lastUsedAt: null }, previousCredential: { lastUsedAt: latestAt } })
  const thirdAt = await use(third)
  t.match(await read(grantd, first), {
    credential: { lastUsedAt: thirdAt },
    previousCredential: { lastUsedAt: latestAt }
  })
})

// [INPUT-18]
t.test('a retired secret is refused at once, and only the log tells it from other wrong secrets', async t => {
  const { log, lines } = capturedLog()
  const metrics = new Registry()
  const grantd = await startApp(t, { log, metrics })
  const old = await grantd.register()
  t.equal((await grantd.asAdmin('DELETE', `${old.path}/previous-credential`)).status, 404)
  const fresh = await rotate(grantd, old)
  for (const secret of [old, fresh]) t.equal((await grantd.exchange(secret)).status, 200)
  t.equal((await grantd.asAdmin('DELETE', `${old.path}/previous-credential`)).status, 204)
  const [event] = (await grantd.asAdmin('GET', '/v1/sites/acme/audit-events?limit=1')).json().items
  t.equal(event.action, 'credential.retired')
  const endedAt = Date.parse(event.changes.previousCredentialExpiresAt.to)
  t.equal(endedAt, Date.parse(event.occurredAt) - 60_000, 'in the past also for a clock that is behind')
  const refused = await grantd.exchange(old)
  const wrong = await grantd.exchange({ ...old, clientSecret: (await grantd.register()).clientSecret })
  t.equal(refused.status, 401)
  t.equal(refused.text, wrong.text)
  t.same(Object.keys(refused.headers), Object.keys(wrong.headers))
  await until('both are logged', () =>
    ['retired_secret', 'wrong_secret'].every(reason => lines.join('').includes(reason))
  )
  const counted = (await metrics.read()).find(({ name }) => name === 'grantd_token_requests_total')
  t.match(counted?.samples, { '{outcome="retired_secret"}': 1, '{outcome="wrong_secret"}': 1 })
  t.equal((await grantd.exchange(fresh)).status, 200)
  t.equal((await read(grantd, old)).previousCredential, null)
  t.equal((await grantd.asAdmin('DELETE', `${old.path}/previous-credential`)).status, 404)
})

t.test('overlapSeconds 0 refuses the old secret from the next request on', async t => {
  const grantd = await startApp(t)
  const old = await grantd.register()
  t.equal((await grantd.exchange(old)).status, 200)
  const fresh = await rotate(grantd, old, 0)
  t.equal((await grantd.exchange(old)).status, 401)
  t.equal((await grantd.exchange(fresh)).status, 200)
})

t.test('another rotation replaces a new secret that nobody used, and the old one stays accepted', async t => {
  const clock = new Clock()
  const grantd = await startApp(t, { now: clock.now })
  const old = await grantd.register()
  t.equal((await grantd.exchange(old)).status, 200)
  clock.advance(1_000)
  const lost = await rotate(grantd, old)
  clock.advance(1_000)
  const fresh = await rotate(grantd, old)
  t.equal((await grantd.exchange(lost)).status, 401)
  for (const secret of [old, fresh]) t.equal((await grantd.exchange(secret)).status, 200)
  t.equal((await read(grantd, old)).previousCredential.expiresAt, new Date(clock.time + DAY_MS).toISOString())
})

// [INPUT-13]
t.test('while both secrets are in use a third is refused, until one is retired', async t => {
  const grantd = await startApp(t)
  const old = await grantd.register()
  t.equal((await grantd.exchange(old)).status, 200)
  const fresh = await rotate(grantd, old)
  t.equal((await grantd.exchange(fresh)).status, 200)
  await until('the use is written', async () => (await read(grantd, old)).credential.lastUsedAt !== null)
  const refused = await grantd.asAdmin('POST', `${old.path}/rotate-secret`)
  t.equal(refused.status, 409)
  t.equal(refused.json().code, 'rotation_under_way')
  for (const secret of [old, fresh]) t.equal((await grantd.exchange(secret)).status, 200)
  await grantd.asAdmin('DELETE', `${old.path}/previous-credential`)
  t.equal((await grantd.asAdmin('POST', `${old.path}/rotate-secret`)).status, 201)
})

t.test(
  'a leaked secret can always be rotated away: an overlap of 0 ends both secrets, also when both are in use',
  async t => {
    const grantd = await startApp(t)
    const old = await grantd.register()
    await grantd.exchange(old)
    const fresh = (await grantd.asAdmin('POST', `${old.path}/rotate-secret`)).json()
    t.equal((await grantd.exchange(fresh)).status, 200)
    t.equal((await grantd.exchange(old)).status, 200, 'both are in use')
    const answer = await grantd.asAdmin('POST', `${old.path}/rotate-secret`, { body: { overlapSeconds: 0 } })
    t.equal(answer.status, 201)
    t.equal(answer.json().previousCredential, null)
    for (const secret of [old, fresh]) t.equal((await grantd.exchange(secret)).status, 401)
    t.equal((await grantd.exchange(answer.json())).status, 200)
  }
)

t.test('both credentials of a registration with mayIntrospect count as in use, until one is retired', async t => {
  const grantd = await startApp(t)
  const token = await tokenOf(grantd, await grantd.register())
  const isAccepted = async (gateway: Registered) => (await introspect(grantd, gateway, token)).status === 200
  const first = await registerGateway(grantd)
  const second = await rotate(grantd, first)
  t.ok(await isAccepted(second))
  const refused = await grantd.asAdmin('POST', `${first.path}/rotate-secret`, { body: { overlapSeconds: 86_400 } })
  t.match(refused.json(), { status: 409, code: 'rotation_under_way' })
  for (const gateway of [first, second]) t.ok(await isAccepted(gateway))
  t.equal((await grantd.asAdmin('DELETE', `${first.path}/previous-credential`)).status, 204)
  const third = await rotate(grantd, first)
  t.same([await isAccepted(first), await isAccepted(second), await isAccepted(third)], [false, true, true])
  const fourth = await rotate(grantd, first, 0)
  t.same([await isAccepted(second), await isAccepted(third), await isAccepted(fourth)], [false, false, true])
})

t.test('a renewal changes no credential, and a rotation changes nothing else', async t => {
  const grantd = await startApp(t)
  const old = await grantd.register({ name: 'kept', scopes: ['a', 'b'] })
  const before = await read(grantd, old)
  const fresh = await rotate(grantd, old)
  const after = await read(grantd, old)
  for (const member of ['clientId', 'name', 'expiresAt', 'enabled', 'scopes', 'registeredAt']) {
    t.same(after[member], before[member], member)
  }
  const renewed = await grantd.asAdmin('PATCH', old.path, {
    body: { expiresAt: new Date(Date.now() + 500 * DAY_MS).toISOString() }
  })
  t.equal(renewed.status, 200)
  t.equal(renewed.json().credential.createdAt, after.credential.createdAt)
  for (const secret of [old, fresh]) t.equal((await grantd.exchange(secret)).status, 200)
})

t.test('a refused rotation changes nothing', async t => {
  const grantd = await startApp(t)
  const old = await grantd.register()
  const post = (body: unknown, headers = {}) => grantd.asAdmin('POST', `${old.path}/rotate-secret`, { body, headers })
  for (const overlapSeconds of [-1, 2_592_001, 1.5, '60', null]) {
    const answer = await post({ overlapSeconds })
    t.equal(answer.status, 400, String(overlapSeconds))
    t.match(answer.json().errors, [{ pointer: '/overlapSeconds' }])
  }
  for (const body of [{ clientSecret: 'mine' }, 'null', []]) t.equal((await post(body)).status, 400)
  t.equal((await post({}, { 'if-match': '"7"' })).status, 412)
  const other = await grantd.asAdmin('POST', `${old.path.replace('acme', 'zoo')}/rotate-secret`)
  const absent = await grantd.asAdmin('POST', `/v1/sites/zoo/app-registrations/${'0'.repeat(20)}/rotate-secret`)
  t.equal(other.status, 404)
  t.equal(other.text, absent.text)
  t.equal((await read(grantd, old)).previousCredential, null)
  t.equal((await grantd.exchange(old)).status, 200)
})

t.test('each rotation and retirement leaves an audit event, without a secret', async t => {
  const grantd = await startApp(t)
  const old = await grantd.register()
  const { clientSecret } = await rotate(grantd, old)
  await grantd.asAdmin('DELETE', `${old.path}/previous-credential`)
  const { items } = (await grantd.asAdmin('GET', '/v1/sites/acme/audit-events')).json()
  t.same(
    items.map(({ action }: { action: string }) => action),
    ['credential.retired', 'credential.rotated', 'registration.created']
  )
  t.notOk(JSON.stringify(items).includes(clientSecret))
  const rows = JSON.stringify(await query(grantd.databaseUrl, 'select * from registrations'))
  t.notOk(rows.includes(clientSecret))
})

t.test('while the database is away both secrets are accepted, the old one until its expiry', async t => {
  const clock = new Clock()
  const { proxy, url } = await proxyPostgres(t, await createDatabase(t))
  const grantd = await startApp(t, { databaseUrl: url, now: clock.now })
  const old = await grantd.register()
  const fresh = await rotate(grantd, old, 30)
  for (const secret of [old, fresh]) t.equal((await grantd.exchange(secret)).status, 200)
  await proxy.refuse()
  for (const secret of [old, fresh]) t.equal((await grantd.exchange(secret)).status, 200)
  clock.advance(30_000)
  t.equal((await grantd.exchange(old)).status, 401)
  t.equal((await grantd.exchange(fresh)).status, 200)
  await proxy.accept()
})
