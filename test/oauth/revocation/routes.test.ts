import { decodeJwt } from 'jose'
import t, { type Test } from 'tap'
import { startApp } from '../../fixtures/app/app.ts'
import { ASSERTION_TYPE, registerKeyClient, requestWithAssertion } from '../../fixtures/app/assertion.ts'
import { createDatabase, query } from '../../fixtures/app/database.ts'
import type { Answer, Grantd } from '../../fixtures/app/grantd.ts'
import { introspect, postForm, registerGateway, tokenOf } from '../../fixtures/app/introspection.ts'
import { proxyPostgres } from '../../fixtures/faults/tcp-proxy.ts'

const PATH = '/oauth/revoke'
const ISSUER = 'https://grantd.example'

interface Credentials {
  clientId: string
  clientSecret: string
}

function revoke(grantd: Grantd, { clientId, clientSecret }: Credentials, token: string): Promise<Answer> {
  return postForm(grantd, PATH, { client_id: clientId, client_secret: clientSecret, token })
}

/** Two instances on one database, with a gateway and a client of one Site. */
async function start(t: Test) {
  const databaseUrl = await createDatabase(t)
  const environment = { ISSUER }
  const [grantd, other] = [
    await startApp(t, { databaseUrl, environment }),
    await startApp(t, { databaseUrl, environment })
  ]
  const gateway = await registerGateway(grantd)
  const isActive = async (token: string, instance = other): Promise<boolean> =>
    (await introspect(instance, gateway, token)).json().active
  const countRows = async () => (await query(databaseUrl, 'select from token_revocations')).length
  return { databaseUrl, grantd, other, gateway, client: await grantd.register(), isActive, countRows }
}

// [INTROSPECT-6]
t.test('a token that is revoked on one instance is inactive on the next request to another (spec 55)', async t => {
  const { grantd, other, client, isActive } = await start(t)
  for (let time = 0; time < 20; time++) {
    const [one, another] = time % 2 === 0 ? [grantd, other] : [other, grantd]
    const token = await tokenOf(one, client)
    t.equal(await isActive(token, another), true)
    const { status, headers, text } = await revoke(one, client, token)
    t.match({ status, text, cache: headers['cache-control'] }, { status: 200, text: '', cache: 'no-store' })
    t.equal(await isActive(token, another), false)
    t.equal(await isActive(token, one), false)
  }
  t.equal((await grantd.exchange(client)).status, 200, 'the client gets tokens as before')
})

t.test('a revocation is a row until the token has expired, and a repeated one is the same row (spec 55)', async t => {
  const { databaseUrl, grantd, client, countRows } = await start(t)
  const token = await tokenOf(grantd, client)
  for (let time = 0; time < 3; time++) t.equal((await revoke(grantd, client, token)).status, 200)
  const { jti, exp = 0 } = decodeJwt(token)
  t.same(await query(databaseUrl, 'select client_id, jti, ends_at from token_revocations'), [
    { client_id: client.clientId, jti, ends_at: new Date(exp * 1_000) }
  ])
  await grantd.asAdmin('DELETE', client.path)
  t.equal(await countRows(), 0)
})

// [INTROSPECT-10]
t.test('garbage and tokens of others are 200 without effect, with the same bytes (RFC 7009 §2.2)', async t => {
  const { databaseUrl, grantd, client, gateway, isActive, countRows } = await start(t)
  const ofGateway = await tokenOf(grantd, gateway)
  const elsewhere = await startApp(t, { databaseUrl })
  const texts = {
    'of another client': ofGateway,
    'of another Site': await tokenOf(grantd, await grantd.register({}, 'globex')),
    'of another issuer with the same keys': await tokenOf(elsewhere, client),
    garbage: 'x',
    'a secret': client.clientSecret,
    'an admin token': await grantd.adminToken(['*'])
  }
  const bytesOf = ({ status, headers, text }: Answer) => JSON.stringify([status, { ...headers, date: '' }, text])
  const own = bytesOf(await revoke(grantd, client, await tokenOf(grantd, client)))
  for (const [what, text] of Object.entries(texts)) t.equal(bytesOf(await revoke(grantd, client, text)), own, what)
  t.equal(await isActive(ofGateway), true)
  t.equal(await countRows(), 1)
})

// [INTROSPECT-9]
t.test(
  'the 101st revocation of a registration moves its cut-off in place of a row, with an event (spec 55)',
  async t => {
    const { grantd, client, isActive, countRows } = await start(t)
    const tokens = await Promise.all(Array.from({ length: 102 }, () => tokenOf(grantd, client)))
    const [spared = '', ...others] = tokens
    for (const token of others.slice(0, 100)) t.equal((await revoke(grantd, client, token)).status, 200)
    t.equal(await countRows(), 100)
    t.equal(await isActive(spared), true)
    t.equal((await revoke(grantd, client, others[100] ?? '')).status, 200)
    t.equal(await countRows(), 0)
    for (const token of tokens) t.equal(await isActive(token), false)
    const fresh = await tokenOf(grantd, client)
    t.equal(await isActive(fresh), true)
    const [event] = (await grantd.asAdmin('GET', '/v1/sites/acme/audit-events?limit=1')).json().items
    t.match(event, { subject: client.clientId, actor: 'client', source: '127.0.0.1' })
  }
)

t.test('a client revokes by every kind of credential, and not without one (RFC 7009 §2.1)', async t => {
  const { grantd, client, isActive } = await start(t)
  const keyed = await registerKeyClient(grantd)
  const sign = () => keyed.sign({ aud: ISSUER })
  const { access_token: token } = (await requestWithAssertion(grantd, await sign())).json()
  const byAssertion = { token, client_assertion_type: ASSERTION_TYPE, client_assertion: await sign() }
  t.equal(await isActive(token), true)
  const refused = [
    await postForm(grantd, PATH, { token }),
    await postForm(grantd, PATH, { token, client_id: keyed.clientId }),
    await postForm(grantd, PATH, {
      ...byAssertion,
      client_assertion: await sign().then(text => `${text.slice(0, -2)}AA`)
    }),
    await revoke(grantd, { ...client, clientId: keyed.clientId }, token)
  ]
  for (const { status } of refused) t.equal(status, 401)
  t.equal(await isActive(token), true)
  t.equal((await postForm(grantd, PATH, byAssertion)).status, 200)
  t.equal(await isActive(token), false)
  t.equal((await postForm(grantd, PATH, byAssertion)).status, 401, 'an assertion is accepted once')
})

t.test('a revocation while the database is away is 503, and holds once it is answered with 200', async t => {
  const { proxy, url } = await proxyPostgres(t, await createDatabase(t))
  const grantd = await startApp(t, { databaseUrl: url })
  const gateway = await registerGateway(grantd)
  const client = await grantd.register()
  const token = await tokenOf(grantd, client)
  await proxy.refuse()
  for (const text of [token, 'x']) {
    const { status, headers, json } = await revoke(grantd, client, text)
    t.equal(status, 503)
    t.equal(headers['retry-after'], '1')
    t.equal(json().error, 'temporarily_unavailable')
  }
  await proxy.accept()
  let status = 503
  while (status === 503) status = (await revoke(grantd, client, token)).status
  t.equal(status, 200)
  t.equal((await introspect(grantd, gateway, token)).json().active, false)
})
