import t from 'tap'
import { startApp } from '../fixtures/app/app.ts'
import { basic } from '../fixtures/app/grantd.ts'
import { exchangeBytes } from '../fixtures/app/raw-http.ts'
import { COLLECTION } from '../fixtures/app/registration.ts'
import { clause } from './clause.ts'

/** HTTP by RFC 9110 and RFC 9112, at the token endpoint and the admin API. */

const METADATA = '/.well-known/oauth-authorization-server'
const FORM_TYPE = 'Content-Type: application/x-www-form-urlencoded'
const GRANT = 'grant_type=client_credentials'
const grantd = await startApp(t)
const client = await grantd.register()
const authorization = basic(client.clientId, client.clientSecret)

/** Sends these lines and a form as they are. @returns all that comes back */
function sendLines(first: string, headers: readonly string[], body = ''): Promise<string> {
  const head = [first, ...headers, `Content-Length: ${body.length}`, 'Connection: close']
  return exchangeBytes(grantd.baseUrl, `${head.join('\r\n')}\r\n\r\n${body}`)
}

clause('9110 §5.3 duplicates', async t => {
  const lines = ['Host: grantd', `Authorization: ${authorization}`, 'Authorization: Basic eDp5']
  const answer = await sendLines('POST /oauth/token HTTP/1.1', [...lines, FORM_TYPE], GRANT)
  t.match(answer, /^HTTP\/1\.1 40[01] /)
})

clause('9110 §6.6.1 date', async t => {
  for (const path of [METADATA, COLLECTION, '/nowhere']) {
    t.ok(Number.isFinite(Date.parse(String((await grantd.send('GET', path)).headers['date']))), path)
  }
})

clause('9110 §8.6 no-content', async t => {
  const { path } = await grantd.register()
  const { status, headers, text } = await grantd.asAdmin('DELETE', path)
  t.equal(status, 204)
  t.equal(text, '')
  t.notOk('content-length' in headers)
})

clause('9110 §9.3.2 head', async t => {
  const [head, get] = [await grantd.send('HEAD', METADATA), await grantd.send('GET', METADATA)]
  t.equal(head.status, 200)
  t.equal(head.text, '')
  t.equal(head.headers['content-length'], get.headers['content-length'])
})

clause('9110 §10.1.1 expect', async t => {
  const lines = ['Host: grantd', `Authorization: ${authorization}`, 'Expect: 100-continue', FORM_TYPE]
  t.match(await sendLines('POST /oauth/token HTTP/1.1', lines, GRANT), /^(HTTP\/1\.1 100 .*\r\n\r\n)?HTTP\/1\.1 200 /)
})

clause('9110 §10.2.2 location', async t => {
  const { answer, clientId } = await grantd.register()
  const { pathname } = new URL(String(answer.headers['location']), grantd.baseUrl)
  t.equal((await grantd.asAdmin('GET', pathname)).json().clientId, clientId)
})

clause('9110 §11.1 scheme', async t => {
  for (const scheme of ['basic', 'BASIC']) {
    const headers = { authorization: authorization.replace('Basic', scheme) }
    t.equal((await grantd.requestToken({}, headers)).status, 200, scheme)
  }
  const token = await grantd.adminToken(['*'])
  const { status } = await grantd.send('GET', COLLECTION, { headers: { authorization: `bearer ${token}` } })
  t.equal(status, 200)
})

clause('9110 §13.1.1 if-match', async t => {
  const { path, answer } = await grantd.register()
  const headers = { 'if-match': String(answer.headers['etag']) }
  t.equal((await grantd.asAdmin('PATCH', path, { body: { name: 'first' }, headers })).status, 200)
  t.equal((await grantd.asAdmin('PATCH', path, { body: { name: 'second' }, headers })).status, 412)
  t.equal((await grantd.asAdmin('GET', path)).json().name, 'first')
})

clause('9110 §13.1.1 any', async t => {
  const { path } = await grantd.register()
  const headers = { 'if-match': '*' }
  t.equal((await grantd.asAdmin('PATCH', path, { body: { name: 'first' }, headers })).status, 200)
})

clause('9110 §15.5.2 challenge', async t => {
  const { status, headers } = await grantd.exchange({ clientId: client.clientId, clientSecret: 'wrong' })
  t.equal(status, 401)
  t.match(headers['www-authenticate'], /^Basic\b/)
})

clause('9110 §15.5.5 not-found', async t => {
  t.equal((await grantd.send('GET', '/nowhere')).status, 404)
})

clause('9110 §15.5.6 allow', async t => {
  const { status, headers } = await grantd.send('GET', '/oauth/token')
  t.equal(status, 405)
  t.equal(headers['allow'], 'POST')
})

clause('9110 §15.5.16 media-type', async t => {
  const headers = { 'content-type': 'text/plain' }
  t.equal((await grantd.asAdmin('POST', COLLECTION, { body: 'name', headers })).status, 415)
})

clause('9112 §3.2 host', async t => {
  t.match(await sendLines(`GET ${METADATA} HTTP/1.1`, []), /^HTTP\/1\.1 400 /)
  t.match(await sendLines(`GET ${METADATA} HTTP/1.1`, ['Host: one', 'Host: two']), /^HTTP\/1\.1 400 /)
})
