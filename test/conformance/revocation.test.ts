import t from 'tap'
import { startApp } from '../fixtures/app/app.ts'
import { createDatabase } from '../fixtures/app/database.ts'
import { type Answer, basic } from '../fixtures/app/grantd.ts'
import { introspect, postForm, registerGateway, tokenOf } from '../fixtures/app/introspection.ts'
import { proxyPostgres } from '../fixtures/faults/tcp-proxy.ts'
import { clause } from './clause.ts'

/** Token revocation by RFC 7009. */

const PATH = '/oauth/revoke'
const grantd = await startApp(t)
const gateway = await registerGateway(grantd)
const client = await grantd.register()
const another = await grantd.register()
const credentialsOf = ({ clientId, clientSecret }: typeof client) => ({
  client_id: clientId,
  client_secret: clientSecret
})

const revoke = (token: string, parameters = {}, by = client): Promise<Answer> =>
  postForm(grantd, PATH, { token, ...credentialsOf(by), ...parameters })
const isActive = async (token: string): Promise<boolean> => (await introspect(grantd, gateway, token)).json().active

clause('7009 §2 endpoint', async t => {
  const metadata = (await grantd.send('GET', '/.well-known/oauth-authorization-server')).json()
  t.equal(metadata.revocation_endpoint, `${grantd.baseUrl}${PATH}`)
  const token = await tokenOf(grantd, client)
  t.ok(await isActive(token))
  t.equal((await revoke(token)).status, 200)
  t.notOk(await isActive(token))
})

clause('7009 §2.1 post', async t => {
  const { status, headers } = await grantd.send('GET', PATH)
  t.equal(status, 405)
  t.equal(headers['allow'], 'POST')
})

clause('7009 §2.1 token', async t => {
  const { status, json } = await postForm(grantd, PATH, credentialsOf(client))
  t.equal(status, 400)
  t.equal(json().error, 'invalid_request')
})

clause('7009 §2.1 hint', async t => {
  for (const token_type_hint of ['access_token', 'refresh_token', 'unknown']) {
    const token = await tokenOf(grantd, client)
    t.equal((await revoke(token, { token_type_hint })).status, 200)
    t.notOk(await isActive(token), token_type_hint)
  }
})

clause('7009 §2.1 authenticate', async t => {
  const token = await tokenOf(grantd, client)
  const refused = [
    await postForm(grantd, PATH, { token }),
    await revoke(token, { client_secret: another.clientSecret })
  ]
  for (const { status, json } of refused) {
    t.equal(status, 401)
    t.equal(json().error, 'invalid_client')
  }
  t.ok(await isActive(token))
  const byBasic = { authorization: basic(client.clientId, client.clientSecret) }
  t.equal((await postForm(grantd, PATH, { token }, byBasic)).status, 200)
  t.notOk(await isActive(token))
})

clause('7009 §2.1 own', async t => {
  const token = await tokenOf(grantd, client)
  t.equal((await revoke(token, {}, another)).status, 200)
  t.ok(await isActive(token))
})

clause('7009 §2.1 immediate', async t => {
  for (let time = 0; time < 10; time++) {
    const token = await tokenOf(grantd, client)
    t.equal((await revoke(token)).status, 200)
    t.notOk(await isActive(token))
  }
})

clause('7009 §2.1 others', async t => {
  const [token, other] = [await tokenOf(grantd, client), await tokenOf(grantd, client)]
  await revoke(token)
  t.ok(await isActive(other))
})

clause('7009 §2.2 success', async t => {
  const { status, text } = await revoke(await tokenOf(grantd, client))
  t.equal(status, 200)
  t.equal(text, '')
})

clause('7009 §2.2 invalid-token', async t => {
  for (const token of ['unknown', `${await tokenOf(grantd, client)}x`]) t.equal((await revoke(token)).status, 200)
})

clause('7009 §2.2 again', async t => {
  const token = await tokenOf(grantd, client)
  for (let time = 0; time < 2; time++) t.equal((await revoke(token)).status, 200)
  t.notOk(await isActive(token))
})

clause('7009 §2.2.1 errors', async t => {
  const token = await tokenOf(grantd, client)
  const refused: [Answer, number, string][] = [
    [
      await postForm(grantd, PATH, `${new URLSearchParams(credentialsOf(client))}&token=a&token=b`),
      400,
      'invalid_request'
    ],
    [await postForm(grantd, `${PATH}?token=${token}`, credentialsOf(client)), 400, 'invalid_request'],
    [await postForm(grantd, PATH, { token }), 401, 'invalid_client']
  ]
  for (const [{ status, headers, json }, expected, code] of refused) {
    t.equal(status, expected)
    t.equal(json().error, code)
    t.match(headers['content-type'], /^application\/json\b/)
    t.equal(headers['cache-control'], 'no-store')
  }
})

clause('7009 §2.2.1 unavailable', async t => {
  const { proxy, url } = await proxyPostgres(t, await createDatabase(t))
  const away = await startApp(t, { databaseUrl: url })
  const known = await away.register()
  const token = await tokenOf(away, known)
  await proxy.refuse()
  const { status, headers, json } = await postForm(away, PATH, { token, ...credentialsOf(known) })
  t.equal(status, 503)
  t.equal(headers['retry-after'], '1')
  t.equal(json().error, 'temporarily_unavailable')
})
