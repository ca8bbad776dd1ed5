import { decodeJwt } from 'jose'
import t from 'tap'
import { startApp } from '../fixtures/app/app.ts'
import { ASSERTION_TYPE, registerKeyClient } from '../fixtures/app/assertion.ts'
import { type Answer, basic } from '../fixtures/app/grantd.ts'
import { introspect, postForm, registerGateway, tokenOf } from '../fixtures/app/introspection.ts'
import { clause } from './clause.ts'

/** Token introspection by RFC 7662. */

const PATH = '/oauth/introspect'
const grantd = await startApp(t)
const gateway = await registerGateway(grantd)
const client = await grantd.register({ scopes: ['devices:read', 'devices:write'] })
const token = await tokenOf(grantd, client)
const foreign = await tokenOf(grantd, await grantd.register({}, 'globex'))
const credentials = { client_id: gateway.clientId, client_secret: gateway.clientSecret }

const ask = (text = token, parameters = {}): Promise<Answer> => introspect(grantd, gateway, text, parameters)
const answerFor = async (text = token) => (await ask(text)).json()

async function isInactive(text: string): Promise<boolean> {
  const { status, text: body } = await ask(text)
  return status === 200 && body === '{"active":false}'
}

/** A change of the registration that the token is of. */
async function tokenAfter(change: (path: string) => Promise<unknown>): Promise<string> {
  const changed = await grantd.register()
  const issued = await tokenOf(grantd, changed)
  await change(changed.path)
  return issued
}

clause('7662 §2 endpoint', async t => {
  const metadata = (await grantd.send('GET', '/.well-known/oauth-authorization-server')).json()
  t.equal(metadata.introspection_endpoint, `${grantd.baseUrl}${PATH}`)
  t.equal((await answerFor()).active, true)
})

clause('7662 §2.1 post', async t => {
  const { status, headers } = await grantd.send('GET', PATH)
  t.equal(status, 405)
  t.equal(headers['allow'], 'POST')
})

clause('7662 §2.1 form', async t => {
  const headers = { 'content-type': 'application/json', authorization: basic(gateway.clientId, gateway.clientSecret) }
  const { status, json } = await grantd.send('POST', PATH, { headers, body: JSON.stringify({ token }) })
  t.equal(status, 400)
  t.equal(json().error, 'invalid_request')
})

clause('7662 §2.1 token', async t => {
  const { status, json } = await postForm(grantd, PATH, credentials)
  t.equal(status, 400)
  t.equal(json().error, 'invalid_request')
})

clause('7662 §2.1 hint', async t => {
  for (const token_type_hint of ['access_token', 'refresh_token', 'unknown']) {
    t.equal((await ask(token, { token_type_hint })).json().active, true, token_type_hint)
  }
})

clause('7662 §2.1 parameters', async t => {
  t.equal((await ask(token, { resource: 'https://devices.example', more: 'x' })).json().active, true)
})

clause('7662 §2.1 once', async t => {
  const { status, json } = await postForm(grantd, PATH, `${new URLSearchParams(credentials)}&token=a&token=${token}`)
  t.equal(status, 400)
  t.equal(json().error, 'invalid_request')
})

clause('7662 §2.1 authorize', async t => {
  const { status, headers, json } = await postForm(grantd, PATH, { token })
  t.equal(status, 401)
  t.match(headers['www-authenticate'], /^Basic\b/)
  t.equal(json().error, 'invalid_client')
})

clause('7662 §2.1 methods', async t => {
  const keyed = await registerKeyClient(grantd, { mayIntrospect: true })
  const assertion = { client_assertion_type: ASSERTION_TYPE, client_assertion: await keyed.sign() }
  const byBasic = { authorization: basic(gateway.clientId, gateway.clientSecret) }
  for (const answer of [
    await postForm(grantd, PATH, { token, ...credentials }),
    await postForm(grantd, PATH, { token, ...assertion }),
    await postForm(grantd, PATH, { token }, byBasic)
  ]) {
    t.equal(answer.json().active, true)
  }
})

clause('7662 §2.2 json', async t => {
  const { status, headers, json } = await ask()
  t.equal(status, 200)
  t.match(headers['content-type'], /^application\/json\b/)
  t.type(json(), 'object')
})

clause('7662 §2.2 active', async t => {
  t.equal((await answerFor()).active, true)
  t.equal((await answerFor('unknown')).active, false)
})

clause('7662 §2.2 scope', async t => {
  t.equal((await answerFor()).scope, 'devices:read devices:write')
})

clause('7662 §2.2 client-id', async t => {
  t.equal((await answerFor()).client_id, client.clientId)
})

clause('7662 §2.2 token-type', async t => {
  t.equal((await answerFor()).token_type, 'Bearer')
})

clause('7662 §2.2 times', async t => {
  const { exp, iat } = await answerFor()
  t.match(decodeJwt(token), { exp, iat })
  t.ok(Number.isInteger(exp) && Number.isInteger(iat))
})

clause('7662 §2.2 sub', async t => {
  t.equal((await answerFor()).sub, client.clientId)
})

clause('7662 §2.2 aud', async t => {
  t.equal((await answerFor()).aud, decodeJwt(token).aud)
})

clause('7662 §2.2 iss', async t => {
  t.equal((await answerFor()).iss, grantd.baseUrl)
})

clause('7662 §2.2 jti', async t => {
  t.equal((await answerFor()).jti, decodeJwt(token).jti)
})

clause('7662 §2.2 extension', async t => {
  t.equal((await answerFor()).site, 'acme')
})

clause('7662 §2.2 inactive', async t => {
  for (const text of ['unknown', `${token}x`, foreign]) t.ok(await isInactive(text))
})

clause('7662 §2.3 credentials', async t => {
  const { status, json } = await introspect(grantd, { ...gateway, clientSecret: client.clientSecret }, token)
  t.equal(status, 401)
  t.equal(json().error, 'invalid_client')
})

clause('7662 §2.3 not-allowed', async t => {
  const { status, text } = await introspect(grantd, client, token)
  t.equal(status, 200)
  t.equal(text, '{"active":false}')
})

clause('7662 §4 expired', async t => {
  const { databaseUrl, baseUrl: issuer } = grantd
  const now = () => Date.now() - 900_000
  const earlier = await startApp(t, { databaseUrl, environment: { ISSUER: issuer }, now })
  t.ok(await isInactive(await tokenOf(earlier, client)))
})

clause('7662 §4 revoked', async t => {
  t.ok(await isInactive(await tokenAfter(path => grantd.asAdmin('PATCH', path, { body: { enabled: false } }))))
  t.ok(await isInactive(await tokenAfter(path => grantd.asAdmin('DELETE', path))))
})

clause('7662 §4 signature', async t => {
  const [header, claims, signature = ''] = token.split('.')
  const reversed = Buffer.from(signature, 'base64url').reverse().toString('base64url')
  t.ok(await isInactive(`${header}.${claims}.${reversed}`))
  t.ok(await isInactive(`${Buffer.from('{"alg":"none"}').toString('base64url')}.${claims}.`))
})

clause('7662 §4 resource-server', async t => {
  t.ok(await isInactive(foreign))
  const other = await registerGateway(grantd, 'globex')
  t.equal((await introspect(grantd, other, foreign)).json().active, true)
})

clause('7662 §4 query', async t => {
  const { status, json } = await postForm(grantd, `${PATH}?token=${token}`, credentials)
  t.equal(status, 400)
  t.equal(json().error, 'invalid_request')
})

clause('7662 §4 caching', async t => {
  t.match((await ask()).headers, { 'cache-control': 'no-store', pragma: 'no-cache' })
  t.match((await ask('unknown')).headers, { 'cache-control': 'no-store', pragma: 'no-cache' })
})

clause('7662 §5 privacy', async t => {
  const known = await ask(foreign)
  const unknown = await ask('unknown')
  t.equal(known.text, unknown.text)
  t.same({ ...known.headers, date: '' }, { ...unknown.headers, date: '' })
})
