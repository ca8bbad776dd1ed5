import { decodeJwt } from 'jose'
import t, { type Test } from 'tap'
import { createClientSecret } from '../../../src/credentials/secret.ts'
import { Registry } from '../../../src/metrics/registry.ts'
import { Clock, startApp } from '../../fixtures/app/app.ts'
import { dumpTables } from '../../fixtures/app/database.ts'
import { type Answer, basic, type Grantd } from '../../fixtures/app/grantd.ts'
import { readMetric } from '../../fixtures/app/metrics.ts'
import { requestBytes, sendPipelined } from '../../fixtures/app/raw-http.ts'

const FORM = { 'content-type': 'application/x-www-form-urlencoded' }
const GRANT = 'grant_type=client_credentials'
const CHALLENGE = /^Basic realm="[^"]+", error="invalid_client"/
const UNKNOWN_ID = '0'.repeat(20)

/** Is it an error by RFC 6749 §5.2, in its characters, without anything that was sent? */
function isOAuthError(t: Test, answer: Answer, status: number, error: string, what: string) {
  t.equal(answer.status, status, `${what}: ${answer.text}`)
  t.equal(answer.headers['content-type'], 'application/json', what)
  t.equal(answer.headers['cache-control'], 'no-store', what)
  t.equal(answer.headers.pragma, 'no-cache', what)
  t.equal(answer.json().error, error, what)
  t.match(answer.json().error_description, /^[\x20\x21\x23-\x5B\x5D-\x7E]+$/, what)
  t.same(Object.keys(answer.json()), ['error', 'error_description'], what)
}

t.test('a token answer is 200 with a Bearer token and no-store (RFC 6749 §5.1)', async t => {
  const grantd = await startApp(t)
  const registration = await grantd.register({ scopes: ['devices:read', 'devices:write'] })
  const { clientId, clientSecret } = registration
  for (const answer of [
    await grantd.requestToken({ client_id: clientId, client_secret: clientSecret }),
    await grantd.requestToken({}, { authorization: basic(clientId, clientSecret) }),
    await grantd.requestToken({ client_id: clientId }, { authorization: basic(clientId, clientSecret) }),
    await grantd.requestToken(
      { scope: '', resource: '', audience: 'ignored' },
      { authorization: basic(clientId, clientSecret) }
    ),
    await grantd.requestToken({ client_secret: '' }, { authorization: basic(clientId, clientSecret) }),
    await grantd.requestToken({}, { authorization: basic(clientId, clientSecret), accept: 'text/html' }),
    await grantd.requestToken(
      { client_id: clientId, client_secret: clientSecret },
      { 'content-type': 'application/x-www-form-urlencoded; charset=UTF-8' }
    )
  ]) {
    t.equal(answer.status, 200, answer.text)
    t.equal(answer.headers['cache-control'], 'no-store')
    t.equal(answer.headers.pragma, 'no-cache')
    t.equal(answer.headers['content-type'], 'application/json')
    const { access_token: accessToken, ...rest } = answer.json()
    t.same(rest, { token_type: 'Bearer', expires_in: 900, scope: 'devices:read devices:write' })
    t.match(accessToken, /^[\w-]+\.[\w-]+\.[\w-]+$/)
  }
  const narrowed = await grantd.requestToken({
    client_id: clientId,
    client_secret: clientSecret,
    scope: 'devices:read'
  })
  t.equal(narrowed.json().scope, 'devices:read')
  const without = await grantd.exchange(await grantd.register())
  t.notOk('scope' in without.json())
})

// [TOKEN-1]
t.test('every malformed request is invalid_request (RFC 6749 §3.2, §5.2)', async t => {
  const grantd = await startApp(t)
  const { clientId, clientSecret } = await grantd.register()
  const header = basic(clientId, clientSecret)
  const credentials = `client_id=${clientId}&client_secret=${clientSecret}`
  for (const [what, body, headers] of [
    ['no grant_type', credentials, FORM],
    ['an empty grant_type', `grant_type=&${credentials}`, FORM],
    ['a repeated grant_type', `${GRANT}&${GRANT}&${credentials}`, FORM],
    ['a repeated client_id', `${GRANT}&${credentials}&client_id=${clientId}`, FORM],
    ['a repeated scope, once empty', `${GRANT}&${credentials}&scope=&scope=a`, FORM],
    ['a repeated unknown parameter', `${GRANT}&${credentials}&x=1&x=1`, FORM],
    ['header and body secret at once', `${GRANT}&${credentials}`, { ...FORM, authorization: header }],
    ['header and assertion at once', `${GRANT}&client_assertion=x`, { ...FORM, authorization: header }],
    ['body secret and assertion at once', `${GRANT}&${credentials}&client_assertion_type=x`, FORM],
    ['another client_id in the body', `${GRANT}&client_id=${UNKNOWN_ID}`, { ...FORM, authorization: header }],
    ['a malformed escape', `${GRANT}&${credentials}&x=%zz`, FORM],
    ['a NUL', `${GRANT}&${credentials}&x=%00`, FORM],
    ['an escape that is not UTF-8', `${GRANT}&${credentials}&x=%ff`, FORM],
    ['bytes that are not UTF-8', Buffer.concat([Buffer.from(`${GRANT}&${credentials}&x=`), Buffer.from([0xff])]), FORM],
    ['JSON', JSON.stringify({ grant_type: 'client_credentials' }), { 'content-type': 'application/json' }],
    ['text', `${GRANT}&${credentials}`, { 'content-type': 'text/plain' }],
    ['multipart', `${GRANT}&${credentials}`, { 'content-type': 'multipart/form-data; boundary=x' }],
    ['no media type', `${GRANT}&${credentials}`, {}],
    ['no body, no media type', '', {}],
    ['an empty body', '', FORM]
  ] as const) {
    isOAuthError(t, await grantd.send('POST', '/oauth/token', { body, headers }), 400, 'invalid_request', what)
  }
  for (const coding of ['gzip', 'br']) {
    const headers = { ...FORM, 'content-encoding': coding }
    const answer = await grantd.send('POST', '/oauth/token', { body: `${GRANT}&${credentials}`, headers })
    isOAuthError(t, answer, 400, 'invalid_request', coding)
  }
  const two = await grantd.send('POST', '/oauth/token', {
    body: GRANT,
    headers: [
      'host',
      'grantd',
      'content-type',
      FORM['content-type'],
      'authorization',
      header,
      'authorization',
      basic('a', 'b')
    ]
  })
  isOAuthError(t, two, 400, 'invalid_request', 'two Authorization headers')
  for (const query of [`?${GRANT}`, `?${credentials}`, '?scope=a', '?x=1&client_secret=s']) {
    const answer = await grantd.send('POST', `/oauth/token${query}`, { body: `${GRANT}&${credentials}`, headers: FORM })
    isOAuthError(t, answer, 400, 'invalid_request', `the query ${query}`)
  }
  const large = await grantd.send('POST', '/oauth/token', { body: `${GRANT}&x=${'x'.repeat(16_384)}`, headers: FORM })
  isOAuthError(t, large, 413, 'invalid_request', 'over 16 KiB')
})

t.test('unknown parameters in the query and in the body are ignored', async t => {
  const grantd = await startApp(t)
  const { clientId, clientSecret } = await grantd.register()
  const body = `${GRANT}&client_id=${clientId}&client_secret=${clientSecret}&x=1&y=`
  for (const query of ['?', '?x', '?utm_source=a&utm_source=b', '?x=%zz', '?scope=']) {
    const answer = await grantd.send('POST', `/oauth/token${query}`, { body, headers: FORM })
    t.equal(answer.status, 200, query)
  }
})

// [TOKEN-14]
t.test('any other grant type, also in other letter cases, is unsupported_grant_type', async t => {
  const grantd = await startApp(t)
  const { clientId, clientSecret } = await grantd.register()
  for (const type of ['password', 'refresh_token', 'Client_Credentials', 'CLIENT_CREDENTIALS', ' client_credentials']) {
    const answer = await grantd.requestToken({ grant_type: type, client_id: clientId, client_secret: clientSecret })
    isOAuthError(t, answer, 400, 'unsupported_grant_type', type)
  }
})

// [TOKEN-3]
t.test(
  'a client that fails to authenticate gets 401 invalid_client, always with a Basic challenge (RFC 6749 §5.2, RFC 9110 §15.5.2)',
  async t => {
    const clock = new Clock()
    const grantd = await startApp(t, { now: clock.now, environment: { TOKEN_FAILURE_LIMIT: '1000' } })
    const { clientId, clientSecret } = await grantd.register()
    const other = await grantd.register()
    const tail = clientSecret.slice(-1) === 'a' ? 'b' : 'a'
    const secrets: [string, string, string][] = [
      ['an unknown id', UNKNOWN_ID, clientSecret],
      ['a malformed id', 'x', clientSecret],
      ['a wrong secret', clientId, createClientSecret('grantd_')],
      ["another's secret", clientId, other.clientSecret],
      ['a truncated secret', clientId, clientSecret.slice(0, -1)],
      ['an extended secret', clientId, `${clientSecret}a`],
      ['an edited secret', clientId, clientSecret.slice(0, -1) + tail],
      ['other letters', clientId, clientSecret.toUpperCase()],
      ['another prefix', clientId, clientSecret.replace('grantd_', 'grantx_')],
      ['id and secret swapped', clientSecret, clientId]
    ]
    for (const [what, id, secret] of secrets) {
      const post = await grantd.requestToken({ client_id: id, client_secret: secret })
      isOAuthError(t, post, 401, 'invalid_client', what)
      t.match(post.headers['www-authenticate'], CHALLENGE, what)
      const header = await grantd.requestToken({}, { authorization: basic(id, secret) })
      isOAuthError(t, header, 401, 'invalid_client', what)
      t.match(header.headers['www-authenticate'], CHALLENGE, what)
    }
    const none = await grantd.requestToken({})
    isOAuthError(t, none, 401, 'invalid_client', 'no credentials')
    t.match(none.headers['www-authenticate'], CHALLENGE)
    isOAuthError(t, await grantd.requestToken({ client_id: clientId }), 401, 'invalid_client', 'an id alone')
    isOAuthError(t, await grantd.requestToken({ client_secret: clientSecret }), 401, 'invalid_client', 'a secret alone')
    for (const authorization of [
      'Basic',
      'Basic ',
      'Basic !!!',
      'Basic YQ',
      `Basic ${Buffer.from('no colon').toString('base64')}`,
      `Basic ${Buffer.from([0xff, 0x3a, 0x61]).toString('base64')}`,
      basic(clientId, '%zz'),
      basic(clientId, '%00'),
      basic('', clientSecret),
      basic(clientId, ''),
      `${basic(clientId, clientSecret)}=`,
      `Bearer ${clientSecret}`,
      'Digest x',
      ''
    ]) {
      const answer = await grantd.requestToken({}, { authorization })
      isOAuthError(t, answer, 401, 'invalid_client', authorization)
      t.match(answer.headers['www-authenticate'], /^Basic /, authorization)
    }
  }
)

t.test('a scope that is malformed or not allowed is invalid_scope', async t => {
  const grantd = await startApp(t)
  const { clientId, clientSecret } = await grantd.register({ scopes: ['a', 'b'] })
  for (const scope of ['c', 'a c', ' a', 'a  b', 'a"', 'a\\', 'é', 'a\nb']) {
    const answer = await grantd.requestToken({ client_id: clientId, client_secret: clientSecret, scope })
    isOAuthError(t, answer, 400, 'invalid_scope', JSON.stringify(scope))
  }
  const failed = await grantd.asAdmin('GET', `/v1/sites/acme/app-registrations/${clientId}`)
  t.equal(failed.json().lastUsedAt, null, 'no exchange, no use')
})

t.test('any other method is 405 with Allow: POST', async t => {
  const grantd = await startApp(t)
  for (const method of ['GET', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'PROPFIND', 'QUERY']) {
    const answer = await grantd.send(method, '/oauth/token', { headers: FORM, body: GRANT })
    isOAuthError(t, answer, 405, 'invalid_request', method)
    t.equal(answer.headers.allow, 'POST')
  }
  const head = await grantd.send('HEAD', '/oauth/token')
  t.equal(head.status, 405)
  t.equal(head.headers.allow, 'POST')
})

t.test('only the holder of the right secret learns that the registration is disabled or has expired', async t => {
  const clock = new Clock()
  const grantd = await startApp(t, { now: clock.now })
  const disabled = await grantd.register({ enabled: false })
  const expired = await grantd.register({ expiresAt: new Date(clock.time + 3_600_000).toISOString() })
  clock.advance(3_600_000)
  for (const [{ clientId, clientSecret }, word] of [
    [disabled, /disabled/],
    [expired, /expired/]
  ] as const) {
    const answer = await grantd.exchange({ clientId, clientSecret })
    t.match(answer.json(), { error: 'invalid_client', error_description: word })
    t.notMatch((await grantd.exchange({ clientId, clientSecret: createClientSecret('grantd_') })).text, word)
  }
})

t.test(
  'a secret is refused from the instant of expiresAt on, and not before, for any fraction of a second',
  async t => {
    const clock = new Clock()
    const grantd = await startApp(t, { now: clock.now })
    for (const fraction of [0, 1, 500, 999]) {
      const expiresAt = Math.ceil(clock.time / 1_000) * 1_000 + 5_000 + fraction
      const registration = await grantd.register({ expiresAt: new Date(expiresAt).toISOString() })
      clock.time = expiresAt - 1
      const last = await grantd.exchange(registration)
      t.equal(last.status, 200, `a millisecond before .${fraction}`)
      t.ok((decodeJwt(last.json().access_token).exp ?? Number.POSITIVE_INFINITY) <= expiresAt / 1_000)
      clock.time = expiresAt
      t.equal((await grantd.exchange(registration)).status, 401, `at .${fraction}`)
    }
  }
)

t.test('no token outlives its registration', async t => {
  const clock = new Clock()
  const grantd = await startApp(t, { now: clock.now })
  const registration = await grantd.register({ expiresAt: new Date(clock.time + 600_000).toISOString() })
  t.equal((await grantd.exchange(registration)).json().expires_in, 600)
  clock.advance(599_000)
  t.equal((await grantd.exchange(registration)).json().expires_in, 1)
  clock.advance(999)
  t.equal((await grantd.exchange(registration)).json().expires_in, 1)
  clock.advance(1)
  t.equal((await grantd.exchange(registration)).status, 401)
})

// [TOKEN-12]
t.test('too many failures from one source for one client are 429, and the right secret still passes', async t => {
  const environment = { TOKEN_FAILURE_LIMIT: '5', TRUSTED_PROXIES: '127.0.0.1' }
  const grantd = await startApp(t, { environment })
  const [warm, cold] = [await grantd.register(), await grantd.register()]
  const attempt = (from: string, clientId: string, clientSecret: string) =>
    grantd.requestToken({ client_id: clientId, client_secret: clientSecret }, { 'x-forwarded-for': from })
  t.equal((await attempt('192.0.2.1', warm.clientId, warm.clientSecret)).status, 200)
  for (const clientId of [warm.clientId, cold.clientId, UNKNOWN_ID]) {
    for (let failure = 0; failure < 5; failure++) {
      t.equal((await attempt('192.0.2.1', clientId, createClientSecret('grantd_'))).status, 401)
    }
    const limited = await attempt('192.0.2.1', clientId, createClientSecret('grantd_'))
    isOAuthError(t, limited, 429, 'slow_down', 'limited')
    t.match(limited.headers['retry-after'], /^([1-9]|[1-5]\d|60)$/)
  }
  for (const { clientId, clientSecret } of [cold, warm]) {
    t.equal((await attempt('192.0.2.1', clientId, clientSecret)).status, 200, 'the right secret from the same source')
  }
  t.equal((await attempt('192.0.2.2', cold.clientId, createClientSecret('grantd_'))).status, 401, 'another source')
})

t.test('the right secret of a cold client passes from a source that has just failed 10,000 times', async t => {
  const grantd = await startApp(t)
  const { clientId, clientSecret } = await grantd.register()
  const body = Buffer.from(`${GRANT}&client_id=${clientId}&client_secret=${createClientSecret('grantd_')}`)
  const request = requestBytes('/oauth/token', FORM, body)
  for (let round = 0; round < 10; round++) {
    const answers = await Promise.all(Array.from({ length: 50 }, () => sendPipelined(grantd.baseUrl, request, 20)))
    t.notMatch(answers.join(''), 'access_token')
  }
  t.equal((await grantd.exchange({ clientId, clientSecret })).status, 200)
})

t.test('no request makes the token endpoint hash', async t => {
  const metrics = new Registry()
  const grantd = await startApp(t, { metrics, environment: { TOKEN_FAILURE_LIMIT: '100000' } })
  const [client, disabled] = [await grantd.register(), await grantd.register({ enabled: false })]
  const wrong = createClientSecret('grantd_')
  for (let time = 0; time < 2; time++) {
    t.equal((await grantd.exchange(client)).status, 200)
    for (const { clientId } of [client, disabled, { clientId: UNKNOWN_ID }, { clientId: 'x' }]) {
      for (const clientSecret of [wrong, createClientSecret('grantd_'), 'junk']) {
        t.equal((await grantd.exchange({ clientId, clientSecret })).status, 401)
      }
    }
    t.equal((await grantd.exchange(disabled)).status, 401)
  }
  t.equal((await readMetric(metrics, 'grantd_argon2_total'))?.['{gate="token"}'], 0)
})

t.test('many first exchanges of one client at once all succeed', async t => {
  const grantd = await startApp(t)
  const registration = await grantd.register()
  const answers = await Promise.all(Array.from({ length: 300 }, () => grantd.exchange(registration)))
  t.same(new Set(answers.map(({ status }) => status)), new Set([200]))
})

t.test('a token adds no row to the database', async t => {
  const grantd = await startApp(t)
  const registration = await grantd.register()
  const before = await countRows(grantd)
  for (let round = 0; round < 5; round++) await grantd.exchange(registration)
  t.equal((await countRows(grantd)) - before, 0)
})

async function countRows({ databaseUrl }: Grantd): Promise<number> {
  return Object.values(await dumpTables(databaseUrl)).flat().length
}
