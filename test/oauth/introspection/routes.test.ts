import { decodeJwt } from 'jose'
import t, { type Test } from 'tap'
import { startApp } from '../../fixtures/app/app.ts'
import { ASSERTION_TYPE, registerKeyClient } from '../../fixtures/app/assertion.ts'
import { createDatabase, dumpTables, query } from '../../fixtures/app/database.ts'
import { type Answer, basic } from '../../fixtures/app/grantd.ts'
import { introspect, postForm, registerGateway, tokenOf } from '../../fixtures/app/introspection.ts'
import { DAY_MS } from '../../fixtures/app/registration.ts'
import { proxyPostgres } from '../../fixtures/faults/tcp-proxy.ts'
import { until } from '../../fixtures/run/until.ts'

const PATH = '/oauth/introspect'
const HOUR_MS = 3_600_000
const INACTIVE = '{"active":false}'

/** Two instances on one database, with a gateway and a client of one Site. */
async function start(t: Test, environment: Record<string, string> = {}) {
  const databaseUrl = await createDatabase(t)
  const [grantd, other] = [
    await startApp(t, { databaseUrl, environment: { ISSUER: 'https://grantd.example', ...environment } }),
    await startApp(t, { databaseUrl, environment: { ISSUER: 'https://grantd.example', ...environment } })
  ]
  const gateway = await registerGateway(grantd)
  const client = await grantd.register({ scopes: ['devices:read', 'devices:write'] })
  return { grantd, other, gateway, client }
}

function isActive({ status, json }: Answer): boolean {
  if (status !== 200) throw new Error(`not introspected: ${status}`)
  return json().active
}

t.test('an active token is described by its claims (RFC 7662 §2.2, spec 54)', async t => {
  const { grantd, gateway, client } = await start(t)
  const token = await tokenOf(grantd, client)
  const { iat, exp, jti } = decodeJwt(token)
  const { clientId } = client
  for (let time = 0; time < 2; time++) {
    const answer = await introspect(grantd, gateway, token)
    t.equal(answer.status, 200)
    t.same(answer.json(), {
      ...{ active: true, client_id: clientId, scope: 'devices:read devices:write', token_type: 'Bearer' },
      ...{ exp, iat, iss: 'https://grantd.example', sub: clientId, aud: 'https://grantd.example', jti, site: 'acme' }
    })
    t.match(answer.headers, { 'cache-control': 'no-store', 'content-type': /^application\/json/ })
  }
  const without = await grantd.register()
  t.notOk('scope' in (await introspect(grantd, gateway, await tokenOf(grantd, without))).json())
})

t.test('a change of the registration counts from the next request on, on every instance (spec 54)', async t => {
  const { grantd, other, gateway } = await start(t)
  const ends: Record<string, (path: string, clientId: string) => Promise<unknown>> = {
    disabled: path => grantd.asAdmin('PATCH', path, { body: { enabled: false } }),
    'enabled again': async path => {
      await grantd.asAdmin('PATCH', path, { body: { enabled: false } })
      await grantd.asAdmin('PATCH', path, { body: { enabled: true } })
    },
    deleted: path => grantd.asAdmin('DELETE', path),
    expired: (_path, clientId) =>
      query(grantd.databaseUrl, 'update registrations set expires_at = now() where client_id = $1', [clientId])
  }
  for (const [what, end] of Object.entries(ends)) {
    const client = await grantd.register()
    const token = await tokenOf(grantd, client)
    for (const instance of [grantd, other]) t.ok(isActive(await introspect(instance, gateway, token)), what)
    await end(client.path, client.clientId)
    for (const instance of [other, grantd]) {
      t.equal((await introspect(instance, gateway, token)).text, INACTIVE, what)
    }
  }
})

t.test('a rename, a renewal and a rotation leave the tokens of a registration active', async t => {
  const { grantd, gateway, client } = await start(t)
  const token = await tokenOf(grantd, client)
  const expiresAt = new Date(Date.now() + 30 * DAY_MS).toISOString()
  await grantd.asAdmin('PATCH', client.path, { body: { name: 'another name', scopes: [], expiresAt } })
  await grantd.asAdmin('POST', `${client.path}/rotate-secret`)
  t.match((await introspect(grantd, gateway, token)).json(), { active: true, scope: 'devices:read devices:write' })
})

t.test('a token is inactive from its exp on, also where the clock of an instance is wrong (RFC 7662 §4)', async t => {
  const databaseUrl = await createDatabase(t)
  const environment = { ISSUER: 'https://grantd.example', ACCESS_TOKEN_TTL_SECONDS: '2' }
  const grantd = await startApp(t, { databaseUrl, environment })
  const instances = [
    grantd,
    await startApp(t, { databaseUrl, environment, now: () => Date.now() + HOUR_MS }),
    await startApp(t, { databaseUrl, environment, now: () => Date.now() - HOUR_MS })
  ]
  const gateway = await registerGateway(grantd)
  const token = await tokenOf(grantd, await grantd.register())
  const { exp = 0 } = decodeJwt(token)
  for (const instance of instances) t.ok(isActive(await introspect(instance, gateway, token)))
  await until('it has expired', async () => !isActive(await introspect(grantd, gateway, token)))
  t.ok(Date.now() >= exp * 1_000)
  for (const instance of instances) t.equal((await introspect(instance, gateway, token)).text, INACTIVE)
})

// [INTROSPECT-3]
t.test('every answer about a token that is not active has the same bytes (RFC 7662 §2.2)', async t => {
  const { grantd, gateway, client } = await start(t)
  const elsewhere = await startApp(t, { databaseUrl: grantd.databaseUrl })
  const own = await tokenOf(grantd, client)
  const foreign = await tokenOf(grantd, await grantd.register({}, 'globex'))
  const disabled = await grantd.register()
  const ofDisabled = await tokenOf(grantd, disabled)
  await grantd.asAdmin('PATCH', disabled.path, { body: { enabled: false } })
  const keyClient = await registerKeyClient(grantd)
  const strangers = { 'without mayIntrospect': client, 'of another Site': await registerGateway(grantd, 'globex') }
  const answers: Record<string, Answer> = {
    unknown: await introspect(grantd, gateway, 'unknown'),
    'of another Site': await introspect(grantd, gateway, foreign),
    'of a disabled registration': await introspect(grantd, gateway, ofDisabled),
    'of another issuer with the same keys': await introspect(grantd, gateway, await tokenOf(elsewhere, client)),
    changed: await introspect(grantd, gateway, own.slice(0, -4)),
    'an assertion': await introspect(grantd, gateway, await keyClient.sign()),
    'an admin token': await introspect(grantd, gateway, await grantd.adminToken(['*'])),
    'a Client secret': await introspect(grantd, gateway, client.clientSecret),
    'as long as it may be': await introspect(grantd, gateway, 'x'.repeat(16_000))
  }
  for (const [who, caller] of Object.entries(strangers)) {
    answers[`a caller ${who}`] = await introspect(grantd, caller, own)
    answers[`a caller ${who}, and an unknown token`] = await introspect(grantd, caller, 'unknown')
  }
  const bytesOf = ({ status, headers, text }: Answer) => JSON.stringify([status, { ...headers, date: '' }, text])
  const expected = answers['unknown'] && bytesOf(answers['unknown'])
  t.equal(answers['unknown']?.text, INACTIVE)
  for (const [what, answer] of Object.entries(answers)) t.equal(bytesOf(answer), expected, what)
  t.ok(isActive(await introspect(grantd, gateway, own)), 'the control')
})

t.test(
  'a caller of one of INTROSPECTION_SITES may ask about tokens of every Site, if it mayIntrospect (spec 54)',
  async t => {
    const grantd = await startApp(t, { environment: { INTROSPECTION_SITES: 'gateways, edge' } })
    const tokens = [
      await tokenOf(grantd, await grantd.register()),
      await tokenOf(grantd, await grantd.register({}, 'globex'))
    ]
    for (const token of tokens) {
      t.ok(isActive(await introspect(grantd, await registerGateway(grantd, 'gateways'), token)))
      t.notOk(isActive(await introspect(grantd, await grantd.register({}, 'gateways'), token)))
      t.notOk(isActive(await introspect(grantd, await registerGateway(grantd, 'gateways2'), token)))
    }
  }
)

t.test('a caller may ask about its own token, if it mayIntrospect', async t => {
  const { grantd, gateway, client } = await start(t)
  t.ok(isActive(await introspect(grantd, gateway, await tokenOf(grantd, gateway))))
  t.notOk(isActive(await introspect(grantd, client, await tokenOf(grantd, client))))
})

// [INTROSPECT-4]
t.test('what a caller may do is looked at on each request, on every instance', async t => {
  const { grantd, other, gateway, client } = await start(t)
  const token = await tokenOf(grantd, client)
  const asked = () => introspect(other, gateway, token)
  const change = (body: object) => grantd.asAdmin('PATCH', gateway.path, { body })
  for (let time = 0; time < 2; time++) {
    t.ok(isActive(await asked()))
    await change({ mayIntrospect: false })
    t.notOk(isActive(await asked()))
    await change({ mayIntrospect: true })
    t.ok(isActive(await asked()))
    await change({ enabled: false })
    t.equal((await asked()).status, 401)
    await change({ enabled: true })
    t.ok(isActive(await asked()))
  }
  const { clientSecret } = (await grantd.asAdmin('POST', `${gateway.path}/rotate-secret`, { body: {} })).json()
  t.ok(isActive(await introspect(other, { ...gateway, clientSecret }, token)))
  await grantd.asAdmin('DELETE', gateway.path)
  t.equal((await asked()).status, 401)
})

t.test('callers authenticate as at the token endpoint, or get 401 (RFC 7662 §2.1)', async t => {
  const { grantd, gateway, client } = await start(t)
  const token = await tokenOf(grantd, client)
  const keyed = await registerKeyClient(grantd, { mayIntrospect: true })
  const byBasic = { authorization: basic(gateway.clientId, gateway.clientSecret) }
  const assertion = await keyed.sign({ aud: 'https://grantd.example' })
  const byAssertion = { token, client_assertion_type: ASSERTION_TYPE, client_assertion: assertion }
  t.ok(isActive(await postForm(grantd, PATH, { token }, byBasic)))
  t.ok(isActive(await postForm(grantd, PATH, byAssertion)))
  t.equal((await postForm(grantd, PATH, byAssertion)).status, 401, 'an assertion is accepted once')
  const again = await keyed.sign({ aud: 'https://grantd.example' })
  t.ok(isActive(await postForm(grantd, PATH, { ...byAssertion, client_assertion: again })), 'from the cache too')
  const refused = [
    await postForm(grantd, PATH, { token }),
    await postForm(grantd, PATH, { token, client_id: gateway.clientId }),
    await postForm(grantd, PATH, { token }, { authorization: `Bearer ${token}` }),
    await introspect(grantd, { ...gateway, clientSecret: client.clientSecret }, token),
    await introspect(grantd, { clientId: 'k3v9x2m7q1w8z5t4r6y0', clientSecret: client.clientSecret }, token),
    await introspect(grantd, { ...gateway, clientSecret: 'junk' }, token)
  ]
  for (const { status, headers, json } of refused) {
    t.equal(status, 401)
    t.match(headers['www-authenticate'], /^Basic/)
    t.match(json(), { error: 'invalid_client' })
  }
})

t.test('a malformed introspection request is 400 invalid_request (RFC 7662 §2.3)', async t => {
  const { grantd, gateway, client } = await start(t)
  const token = await tokenOf(grantd, client)
  const credentials = `client_id=${gateway.clientId}&client_secret=${gateway.clientSecret}`
  const json = { headers: { 'content-type': 'application/json' }, body: JSON.stringify({ token }) }
  const answers = [
    await postForm(grantd, PATH, credentials),
    await postForm(grantd, PATH, `${credentials}&token=`),
    await postForm(grantd, PATH, `${credentials}&token=${token}&token=${token}`),
    await postForm(grantd, `${PATH}?token=${token}`, credentials),
    await postForm(grantd, `${PATH}?client_secret=x`, `${credentials}&token=${token}`),
    await grantd.send('POST', PATH, json),
    await grantd.send('POST', PATH)
  ]
  for (const answer of answers) {
    t.equal(answer.status, 400)
    t.match(answer.json(), { error: 'invalid_request' })
    t.equal(answer.headers['cache-control'], 'no-store')
  }
  t.match((await grantd.send('GET', PATH)).headers, { allow: 'POST' })
  t.ok(isActive(await introspect(grantd, gateway, token, { token_type_hint: 'refresh_token', more: 'x' })))
})

t.test('an introspection writes nothing: no row, no use, no event (spec 24, 54)', async t => {
  const { grantd, gateway, client } = await start(t)
  const token = await tokenOf(grantd, client)
  const { databaseUrl } = grantd
  const read = async () => [await dumpTables(databaseUrl), await query(databaseUrl, VERSIONS)]
  const before = await read()
  for (let time = 0; time < 20; time++) {
    for (const text of [token, 'unknown']) await introspect(grantd, gateway, text)
  }
  t.same(await read(), before)
  t.match((await grantd.asAdmin('GET', gateway.path)).json(), { lastUsedAt: null, exchangeCount: 0 })
})

/** The transaction that has written each row, so that a write that changes nothing shows too. */
const VERSIONS = `
  select client_id, registrations.xmin::text, registration_last_used.xmin::text as used
  from registrations join registration_last_used using (client_id) order by 1`

// [INTROSPECT-5]
t.test(
  'while the database is away, every answer is 503, and no caller that only introspected gets a token',
  async t => {
    const { proxy, url } = await proxyPostgres(t, await createDatabase(t))
    const grantd = await startApp(t, { databaseUrl: url })
    const gateway = await registerGateway(grantd)
    const exchanging = await registerGateway(grantd)
    const token = await tokenOf(grantd, exchanging)
    for (const caller of [gateway, exchanging]) t.ok(isActive(await introspect(grantd, caller, token)))
    await proxy.refuse()
    const wrong = { ...gateway, clientSecret: exchanging.clientSecret }
    for (const caller of [gateway, exchanging, wrong]) {
      for (const text of [token, 'unknown']) {
        const { status, headers, text: body } = await introspect(grantd, caller, text)
        t.equal(status, 503)
        t.equal(headers['retry-after'], '1')
        t.match(body, /temporarily_unavailable/)
      }
    }
    t.equal((await grantd.exchange(exchanging)).status, 200)
    t.equal((await grantd.exchange(gateway)).status, 503)
  }
)

t.test('many tokens of one client that are asked about at once get one answer each', async t => {
  const { grantd, gateway, client } = await start(t)
  const tokens = await Promise.all(Array.from({ length: 30 }, () => tokenOf(grantd, client)))
  const [first = ''] = tokens
  const { jti, exp } = decodeJwt(first)
  await query(
    grantd.databaseUrl,
    'insert into token_revocations (client_id, jti, ends_at) values ($1, $2, to_timestamp($3))',
    [client.clientId, jti, exp]
  )
  const answers = await Promise.all(tokens.map(token => introspect(grantd, gateway, token)))
  t.same(
    answers.map(isActive),
    tokens.map(token => token !== first)
  )
  t.same(
    answers.slice(1).map(({ json }) => json().jti),
    tokens.slice(1).map(token => decodeJwt(token).jti)
  )
})

t.test('wrong secrets are limited together with those at the token endpoint, and the right one never is', async t => {
  const { grantd, gateway, client } = await start(t, { TOKEN_FAILURE_LIMIT: '2' })
  const token = await tokenOf(grantd, client)
  const wrong = { ...gateway, clientSecret: client.clientSecret }
  const statusOf = async (answer: Promise<Answer>): Promise<number> => (await answer).status
  t.equal(await statusOf(grantd.exchange(wrong)), 401)
  t.equal(await statusOf(introspect(grantd, wrong, token)), 401)
  t.equal(await statusOf(introspect(grantd, wrong, token)), 429)
  t.equal(await statusOf(introspect(grantd, gateway, token)), 200)
})
