import { decodeJwt } from 'jose'
import t from 'tap'
import { startApp } from '../fixtures/app/app.ts'
import { basic } from '../fixtures/app/grantd.ts'
import { clause } from './clause.ts'

/** The token endpoint by RFC 6749. */

const grantd = await startApp(t)
const client = await grantd.register({ scopes: ['devices:read', 'devices:write'] })
const byPost = { client_id: client.clientId, client_secret: client.clientSecret }
const byBasic = { authorization: basic(client.clientId, client.clientSecret) }
const FORM = { 'content-type': 'application/x-www-form-urlencoded' }
const GRANT = 'grant_type=client_credentials'

/** Sends a form as it is written here, so that a parameter can come twice. */
function sendForm(body: string, headers: Record<string, string> = {}, query = '') {
  return grantd.send('POST', `/oauth/token${query}`, { headers: { ...FORM, ...headers }, body })
}

clause('6749 §2.3 one-method', async t => {
  const { status, json } = await grantd.requestToken(byPost, byBasic)
  t.equal(status, 400)
  t.equal(json().error, 'invalid_request')
})

clause('6749 §2.3.1 basic', async t => {
  t.equal((await sendForm(GRANT, byBasic)).status, 200)
})

clause('6749 §2.3.1 encoding', async t => {
  const encoded = client.clientSecret.replace(/./, first => `%${first.charCodeAt(0).toString(16)}`)
  t.not(encoded, client.clientSecret)
  t.equal((await sendForm(GRANT, { authorization: basic(client.clientId, encoded) })).status, 200)
})

clause('6749 §2.3.1 uri', async t => {
  const query = `?client_id=${client.clientId}&client_secret=${client.clientSecret}`
  const { status, json } = await sendForm(GRANT, {}, query)
  t.equal(status, 400)
  t.equal(json().error, 'invalid_request')
})

clause('6749 §2.3.1 brute-force', async t => {
  const limited = await startApp(t, { environment: { TOKEN_FAILURE_LIMIT: '3' } })
  const { clientId } = await limited.register()
  const statuses: number[] = []
  for (let attempt = 0; attempt < 6; attempt++) {
    const clientSecret = client.clientSecret.replace(/^./, String(attempt))
    statuses.push((await limited.exchange({ clientId, clientSecret })).status)
  }
  t.equal(statuses[0], 401)
  t.equal(statuses.at(-1), 429)
})

clause('6749 §3.2 post', async t => {
  for (const method of ['GET', 'PUT', 'DELETE']) t.equal((await grantd.send(method, '/oauth/token')).status, 405)
})

clause('6749 §3.2 empty', async t => {
  const { status, json } = await grantd.requestToken({ ...byPost, scope: '' })
  t.equal(status, 200)
  t.equal(json().scope, 'devices:read devices:write')
})

clause('6749 §3.2 unknown', async t => {
  t.equal((await grantd.requestToken({ ...byPost, colour: 'blue' })).status, 200)
})

clause('6749 §3.2 once', async t => {
  const { status, json } = await sendForm(`${GRANT}&${GRANT}`, byBasic)
  t.equal(status, 400)
  t.equal(json().error, 'invalid_request')
})

clause('6749 §3.2.1 authenticate', async t => {
  const { status, json } = await sendForm(GRANT)
  t.equal(status, 401)
  t.equal(json().error, 'invalid_client')
})

clause('6749 §3.3 scope-differs', async t => {
  t.equal((await grantd.exchange(client)).json().scope, 'devices:read devices:write')
})

clause('6749 §3.3 scope-subset', async t => {
  t.equal((await grantd.requestToken({ ...byPost, scope: 'devices:read' })).json().scope, 'devices:read')
  t.equal((await grantd.requestToken({ ...byPost, scope: 'devices:read admin' })).json().error, 'invalid_scope')
})

clause('6749 §4.4.2 grant-type', async t => {
  t.equal((await sendForm('scope=devices:read', byBasic)).json().error, 'invalid_request')
  t.equal((await sendForm('grant_type=password', byBasic)).json().error, 'unsupported_grant_type')
})

clause('6749 §4.4.3 no-refresh-token', async t => {
  t.notOk('refresh_token' in (await grantd.exchange(client)).json())
})

clause('6749 §5.1 members', async t => {
  const { access_token: token, token_type: type, expires_in: seconds } = (await grantd.exchange(client)).json()
  t.ok(decodeJwt(token))
  t.match(type, /^bearer$/i)
  t.ok(Number.isInteger(seconds) && seconds > 0)
})

clause('6749 §5.1 json', async t => {
  const { status, headers } = await grantd.exchange(client)
  t.equal(status, 200)
  t.match(headers['content-type'], /^application\/json\b/)
})

clause('6749 §5.1 no-store', async t => {
  t.match((await grantd.exchange(client)).headers, { 'cache-control': 'no-store', pragma: 'no-cache' })
})

clause('6749 §5.2 status', async t => {
  const refused: [string, string][] = [
    [`${GRANT}&${GRANT}`, 'invalid_request'],
    ['grant_type=password', 'unsupported_grant_type'],
    [`${GRANT}&scope=admin`, 'invalid_scope']
  ]
  for (const [body, code] of refused) {
    const { status, headers, json } = await sendForm(body, byBasic)
    t.equal(status, 400)
    t.equal(json().error, code)
    t.match(headers['content-type'], /^application\/json\b/)
    t.equal(headers['cache-control'], 'no-store')
  }
})

clause('6749 §5.2 challenge', async t => {
  const { status, headers } = await sendForm(GRANT, { authorization: basic(client.clientId, 'wrong') })
  t.equal(status, 401)
  t.match(headers['www-authenticate'], /^Basic\b/)
})

clause('6749 §5.2 characters', async t => {
  const refused = [
    await sendForm(`${GRANT}&scope=%22%5C%C3%A9`, byBasic),
    await sendForm('grant_type=%22%5C%C3%A9', byBasic),
    await sendForm(GRANT, { authorization: basic('é"\\', 'wrong') }),
    await sendForm(GRANT, {}, '?client_secret=%22')
  ]
  for (const { status, json } of refused) {
    t.ok(status === 400 || status === 401)
    t.match(json().error_description ?? '', /^[\x20-\x21\x23-\x5b\x5d-\x7e]*$/)
  }
})

clause('6749 §10.10 entropy', async t => {
  const secrets = new Set([client.clientSecret])
  for (let made = 0; made < 5; made++) secrets.add((await grantd.register()).clientSecret)
  t.equal(secrets.size, 6)
  // 43 characters of an alphabet of 62 or 64 carry 256 random bits.
  for (const secret of secrets) t.match(secret, /[A-Za-z0-9_-]{43,}$/)
})
