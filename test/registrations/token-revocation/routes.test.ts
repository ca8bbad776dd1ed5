import { request as httpRequest } from 'node:http'
import t from 'tap'
import { createClientSecret } from '../../../src/credentials/secret.ts'
import { startApp } from '../../fixtures/app/app.ts'
import { query } from '../../fixtures/app/database.ts'
import type { Grantd } from '../../fixtures/app/grantd.ts'
import { introspect, registerGateway } from '../../fixtures/app/introspection.ts'
import { inDays, issuedAtOf } from '../../fixtures/app/registration.ts'
import { until } from '../../fixtures/run/until.ts'

const revoke = (grantd: Grantd, path: string, headers = {}) =>
  grantd.asAdmin('POST', `${path}/revoke-tokens`, { headers })
const cutOffOf = async (grantd: Grantd, path: string) => (await grantd.asAdmin('GET', path)).json().tokensValidFrom

async function databaseTime({ databaseUrl }: Grantd): Promise<number> {
  const [row] = await query(databaseUrl, 'select clock_timestamp() as now')
  return Object(row).now.getTime()
}

t.test('revoke-tokens answers when the cut-off has come: the start of a second, after every token so far', async t => {
  const grantd = await startApp(t)
  const client = await grantd.register()
  t.equal(await cutOffOf(grantd, client.path), null, 'no token was ever stopped')
  const ahead: number[] = []
  for (let time = 0; time < 2; time++) {
    const before = issuedAtOf(await grantd.exchange(client))
    const asked = await databaseTime(grantd)
    const answer = await revoke(grantd, client.path)
    const answered = await databaseTime(grantd)
    t.equal(answer.status, 200, answer.text)
    const { tokensValidFrom, ...rest } = answer.json()
    t.same(rest, {})
    const cutOff = Date.parse(tokensValidFrom)
    t.equal(cutOff % 1_000, 0, 'a whole second, as "iat" is')
    t.ok(before < cutOff, 'the token before it is stopped')
    t.ok(cutOff > asked)
    ahead.push(cutOff - asked)
    t.ok(cutOff <= answered, 'it has come')
    t.ok(issuedAtOf(await grantd.exchange(client)) >= cutOff, 'the token after it is active')
    t.equal(await cutOffOf(grantd, client.path), tokensValidFrom)
  }
  // A request that is sent just before a second ends may be carried out in the next one.
  t.ok(Math.min(...ahead) <= 1_000 && Math.max(...ahead) <= 2_000, `${ahead.join(' and ')} ms after the requests`)
})

t.test('revoke-tokens changes the version, and leaves an audit event with the cut-off before and after', async t => {
  const grantd = await startApp(t)
  const { path, clientId } = await grantd.register()
  const first = await revoke(grantd, path, { 'if-match': '"1"' })
  t.equal(first.headers['etag'], '"2"')
  t.equal((await revoke(grantd, path, { 'if-match': '"1"' })).status, 412)
  const second = await revoke(grantd, path)
  t.equal(second.headers['etag'], '"3"')
  const { items } = (await grantd.asAdmin('GET', '/v1/sites/acme/audit-events?limit=2')).json()
  const [from, to] = [first.json().tokensValidFrom, second.json().tokensValidFrom]
  t.match(items, [
    { action: 'tokens.revoked', subject: clientId, actor: 'ada', changes: { tokensValidFrom: { from, to } } },
    { action: 'tokens.revoked', changes: { tokensValidFrom: { from: null, to: from } } }
  ])
})

// [STOP-1]
t.test('the tokens of another Site, and of an unknown registration, are not stopped: 404', async t => {
  const grantd = await startApp(t)
  const { path, clientId } = await grantd.register()
  for (const tried of [
    `/v1/sites/globex/app-registrations/${clientId}`,
    `/v1/sites/acme/app-registrations/${'a'.repeat(20)}`
  ]) {
    t.equal((await revoke(grantd, tried)).status, 404)
  }
  t.equal((await grantd.asAdmin('POST', `${path}/revoke-tokens`, { sites: ['globex'] })).status, 404)
  t.equal(await cutOffOf(grantd, path), null)
})

t.test(
  'revoking at once on two instances: each call stops what was issued before it, and none shortens another',
  async t => {
    const one = await startApp(t)
    const other = await startApp(t, { databaseUrl: one.databaseUrl })
    const client = await one.register()
    const asked = await databaseTime(one)
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, time) => revoke(time % 2 ? one : other, client.path))
    )
    for (const { status, text } of answers) t.equal(status, 200, text)
    const cutOffs = answers.map(answer => Date.parse(answer.json().tokensValidFrom))
    const last = Math.max(...cutOffs)
    t.ok(last <= (await databaseTime(one)), 'calls of one second do not move the cut-off beyond the next')
    for (const cutOff of cutOffs) t.ok(cutOff > asked)
    t.equal(Date.parse(await cutOffOf(other, client.path)), last)
    t.equal((await one.asAdmin('GET', client.path)).headers['etag'], '"21"')
    for (const grantd of [one, other]) t.ok(issuedAtOf(await grantd.exchange(client)) >= last)
  }
)

t.test('a caller that hangs up has stopped the tokens all the same', async t => {
  const grantd = await startApp(t)
  const client = await grantd.register()
  const issuedAt = issuedAtOf(await grantd.exchange(client))
  const request = httpRequest(`${grantd.baseUrl}${client.path}/revoke-tokens`, {
    method: 'POST',
    headers: { authorization: `Bearer ${await grantd.adminToken(['*'])}` }
  })
  request.on('error', () => {})
  request.end()
  await until('the cut-off is committed', async () => (await cutOffOf(grantd, client.path)) !== null)
  request.destroy()
  const cutOff = Date.parse(await cutOffOf(grantd, client.path))
  t.ok(issuedAt < cutOff)
  t.ok(issuedAtOf(await grantd.exchange(client)) >= cutOff)
})

/** Ways to disable a registration and to enable it again. */
const WAYS: Record<string, (grantd: Grantd, client: { path: string; clientSecret: string }) => Promise<unknown>> = {
  'an administrator': (grantd, { path }) => grantd.asAdmin('PATCH', path, { body: { enabled: false } }),
  'a report of a leak': (grantd, { clientSecret }) =>
    grantd.send('POST', '/v1/secret-reports', {
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ secrets: [{ secret: clientSecret }] })
    }),
  // An instance of release 0.2.0, or a person.
  'a statement that does not know the cut-off': ({ databaseUrl }) =>
    query(databaseUrl, 'update registrations set enabled = false, version = version + 1')
}

for (const [way, disable] of Object.entries(WAYS)) {
  // [STOP-2]
  t.test(`disabling by ${way} stops the tokens, and enabling does not bring them back`, async t => {
    const grantd = await startApp(t)
    const client = await grantd.register()
    const issuedAt = issuedAtOf(await grantd.exchange(client))
    await disable(grantd, client)
    t.match((await grantd.asAdmin('GET', client.path)).json(), { enabled: false })
    const disabledFrom = Date.parse(await cutOffOf(grantd, client.path))
    t.ok(issuedAt < disabledFrom)
    const enabled = await grantd.asAdmin('PATCH', client.path, { body: { enabled: true } })
    t.ok(issuedAt < Date.parse(enabled.json().tokensValidFrom))
    t.ok(disabledFrom <= Date.parse(enabled.json().tokensValidFrom), 'the cut-off never moves back')
    t.equal((await grantd.exchange({ ...client, clientSecret: createClientSecret('grantd_') })).status, 401)
  })
}

// [STOP-3]
t.test('a token that is issued while the disabling is being committed does not come back either', async t => {
  const grantd = await startApp(t)
  const client = await grantd.register()
  await grantd.exchange(client)
  // The cut-off of the disabling comes while its transaction is still open.
  const disabling = query(
    grantd.databaseUrl,
    `with disabled as (update registrations set enabled = false, version = version + 1 returning tokens_valid_from)
     select tokens_valid_from, pg_sleep(2.5) from disabled`
  )
  let issuedAt = 0
  await until('a token has a later instant than that cut-off', async () => {
    const answer = await grantd.exchange(client)
    if (answer.status === 200) issuedAt = issuedAtOf(answer)
    return answer.status === 401
  })
  const [{ tokens_valid_from: disabledFrom }] = Object(await disabling)
  t.ok(issuedAt >= disabledFrom.getTime(), 'it was issued after the cut-off')
  const enabled = await grantd.asAdmin('PATCH', client.path, { body: { enabled: true } })
  t.ok(issuedAt < Date.parse(enabled.json().tokensValidFrom))
})

t.test('renaming, renewing and rotating stop no token', async t => {
  const grantd = await startApp(t)
  const { path } = await grantd.register()
  await grantd.asAdmin('PATCH', path, { body: { name: 'renamed', enabled: true } })
  await grantd.asAdmin('POST', `${path}/rotate-secret`)
  t.equal(await cutOffOf(grantd, path), null)
})

/** Ways to renew a registration. The statement is one of release 0.2.0, or of a person. */
const RENEWALS: Record<string, (grantd: Grantd, path: string) => Promise<unknown>> = {
  'an administrator': (grantd, path) => grantd.asAdmin('PATCH', path, { body: { expiresAt: inDays(30) } }),
  'an administrator who renames it too': (grantd, path) =>
    grantd.asAdmin('PATCH', path, { body: { name: 'renamed', expiresAt: inDays(30) } }),
  'a statement that does not know the cut-off': ({ databaseUrl }) =>
    query(databaseUrl, `update registrations set expires_at = now() + interval '30 days', version = version + 1`)
}

for (const [way, renew] of Object.entries(RENEWALS)) {
  // [STOP-7]
  t.test(`a token that outlived its registration does not come back when ${way} renews it`, async t => {
    const grantd = await startApp(t)
    const gateway = await registerGateway(grantd)
    const client = await grantd.register()
    const token = (await grantd.exchange(client)).json().access_token
    const expiresAt = Date.now() + 700
    await grantd.asAdmin('PATCH', client.path, { body: { expiresAt: new Date(expiresAt).toISOString() } })
    t.equal(await cutOffOf(grantd, client.path), null, 'it is active until then')
    await until('it has expired', async () => (await databaseTime(grantd)) > expiresAt)
    t.match((await introspect(grantd, gateway, token)).json(), { active: false })
    await renew(grantd, client.path)
    const cutOff = Date.parse(await cutOffOf(grantd, client.path))
    t.equal(cutOff, Math.ceil(expiresAt / 1_000) * 1_000, 'the first whole second from the expiry on')
    t.match((await introspect(grantd, gateway, token)).json(), { active: false })
    const again = (await grantd.exchange(client)).json().access_token
    t.match((await introspect(grantd, gateway, again)).json(), { active: true })
  })
}

t.test('renewing a registration that expired as it was registered moves its expiry and nothing else', async t => {
  const grantd = await startApp(t)
  const expiresAt = Date.now() + 700
  const client = await grantd.register({ expiresAt: new Date(expiresAt).toISOString() })
  await until('it has expired', async () => (await databaseTime(grantd)) > expiresAt)
  const {
    expiresAt: _old,
    expiresInDays: _days,
    state: _state,
    ...before
  } = (await grantd.asAdmin('GET', client.path)).json()
  const body = { expiresAt: new Date(Date.now() + 30 * 86_400_000).toISOString() }
  t.match((await grantd.asAdmin('PATCH', client.path, { body })).json(), before)
  t.equal(before.tokensValidFrom, null)
})

t.test('after the clock of the database was set back, a cut-off is still later than every token', async t => {
  const grantd = await startApp(t)
  const client = await grantd.register()
  // As a clock that was an hour ahead has left it.
  await query(grantd.databaseUrl, `update registrations set tokens_valid_from = now() + interval '1 hour', version = 2`)
  const before = performance.now()
  const issuedAt = issuedAtOf(await grantd.exchange(client))
  t.ok(performance.now() - before < 5_000, 'the exchange does not wait for an hour')
  t.equal(issuedAt, Date.parse(await cutOffOf(grantd, client.path)))
  await revoke(grantd, client.path)
  t.ok(issuedAt < Date.parse(await cutOffOf(grantd, client.path)))
})
