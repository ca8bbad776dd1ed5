import { createRemoteJWKSet, SignJWT, UnsecuredJWT } from 'jose'
import t, { type Test } from 'tap'
import { signAdminToken, startApp } from '../fixtures/app/app.ts'
import { type Answer, type Grantd, send } from '../fixtures/app/grantd.ts'
import { capturedLog } from '../fixtures/app/log.ts'
import { description } from '../fixtures/app/openapi.ts'
import { answerBytes, exchangeBytes } from '../fixtures/app/raw-http.ts'
import { COLLECTION, inDays } from '../fixtures/app/registration.ts'
import { until } from '../fixtures/run/until.ts'

const FUTURE = '2027-01-01T00:00:00Z'
const YEAR_FROM_NOW = () => inDays(365)
const UI = 'https://admin.example.com'

/** Every operation of the admin API that openapi.yaml knows, on Site `acme` and an id that isn't there. */
const OPERATIONS = Object.entries(description.paths)
  .filter(([template]) => template.startsWith('/v1/'))
  .flatMap(([template, verbs]) =>
    Object.entries(verbs)
      .filter(([verb]) => ['get', 'put', 'post', 'patch', 'delete'].includes(verb))
      // The others say themselves what they demand of their callers.
      .filter(([, { security }]) => security === undefined)
      .map(([verb]) => ({
        method: verb.toUpperCase(),
        path: template.replace('{siteId}', 'acme').replaceAll(/\{\w+\}/g, 'a'.repeat(20)),
        isOfAllSites: !template.includes('{siteId}')
      }))
  )

function bearer(token: string): { authorization: string } {
  return { authorization: `Bearer ${token}` }
}

/** As an administrator with this token. */
function answerTo(grantd: Grantd, method: string, path: string, token: string, body = ''): Promise<string> {
  const headers = { ...bearer(token), ...(body !== '' && { 'content-type': 'application/json' }) }
  return answerBytes(grantd.baseUrl, method, path, headers, body)
}

function refusedAsInvalid(t: Test, answer: Answer, what: string): void {
  t.equal(answer.status, 401, what)
  t.equal(answer.headers['www-authenticate'], 'Bearer error="invalid_token"', what)
  t.equal(answer.headers['content-type'], 'application/problem+json', what)
  t.equal(answer.headers['cache-control'], 'no-store', what)
  t.equal(answer.json().code, 'unauthorized', what)
}

// [ADMIN-15]
t.test('every operation without a token is 401 with a plain Bearer challenge (RFC 6750 §3.1)', async t => {
  const grantd = await startApp(t)
  t.ok(OPERATIONS.length >= 6)
  for (const { method, path } of OPERATIONS) {
    const answer = await grantd.send(method, path)
    t.equal(answer.status, 401, `${method} ${path}`)
    t.equal(answer.headers['www-authenticate'], 'Bearer')
    t.equal(answer.headers['content-type'], 'application/problem+json')
    t.equal(answer.headers['cache-control'], 'no-store')
  }
})

t.test('another authentication scheme is answered like no token, without an error code (RFC 6750 §3.1)', async t => {
  const grantd = await startApp(t)
  for (const authorization of ['Basic YTpi', 'basic YTpi', 'Digest username="a"', 'Negotiate', 'DPoP abc']) {
    const answer = await grantd.send('GET', COLLECTION, { headers: { authorization } })
    t.equal(answer.status, 401, authorization)
    t.equal(answer.headers['www-authenticate'], 'Bearer', authorization)
  }
})

t.test('every operation with a bad token is 401 with error="invalid_token" (RFC 6750 §3.1)', async t => {
  const grantd = await startApp(t)
  const good = await grantd.adminToken(['*'])
  const expired = await signAdminToken(['*'], Date.now() - 2 * 3_600_000)
  const unsigned = new UnsecuredJWT({ site_admin: ['*'] }).setIssuer('https://identity.example.com').encode()
  const foreign = await new SignJWT({ site_admin: ['*'] })
    .setProtectedHeader({ alg: 'HS256' })
    .setIssuer('https://identity.example.com')
    .setAudience('grantd-admin')
    .setExpirationTime('1h')
    .sign(Buffer.alloc(32))
  for (const { method, path } of OPERATIONS) {
    for (const token of [expired, unsigned, foreign, `${good}A`, good.slice(0, -8), 'abc']) {
      refusedAsInvalid(t, await grantd.send(method, path, { headers: bearer(token) }), `${method} ${path}`)
    }
  }
})

t.test('a Bearer header that is malformed is 401, never a 5xx', async t => {
  const grantd = await startApp(t)
  const good = await grantd.adminToken(['*'])
  for (const authorization of [
    'Bearer',
    'Bearer ',
    'Bearer  ',
    `Bearer ${good} ${good}`,
    `Bearer ${good},`,
    `Bearer "${good}"`,
    `Bearer token="${good}"`,
    `Bearer\t${good}`,
    'Bearer =',
    'Bearer %00',
    `Bearer ${'a.'.repeat(4_000)}`,
    'Bearer \u00ff'
  ]) {
    const answer = await grantd.send('GET', COLLECTION, { headers: { authorization } })
    refusedAsInvalid(t, answer, authorization.slice(0, 40))
  }
})

t.test('the scheme is read without regard to case (RFC 9110 §11.1)', async t => {
  const grantd = await startApp(t)
  const token = await grantd.adminToken(['acme'])
  for (const scheme of ['Bearer', 'bearer', 'BEARER']) {
    const answer = await grantd.send('GET', COLLECTION, { headers: { authorization: `${scheme} ${token}` } })
    t.equal(answer.status, 200, scheme)
  }
})

// [ADMIN-14]
t.test('a token outside the Authorization header is ignored', async t => {
  const grantd = await startApp(t)
  const token = await grantd.adminToken(['*'])
  for (const [path, headers] of [
    [`${COLLECTION}?access_token=${token}`, {}],
    [COLLECTION, { cookie: `access_token=${token}; token=${token}` }],
    [COLLECTION, { 'x-access-token': token, 'proxy-authorization': `Bearer ${token}` }]
  ] as const) {
    const answer = await grantd.send('GET', path, { headers })
    t.equal(answer.status, 401)
    t.equal(answer.headers['www-authenticate'], 'Bearer')
  }
})

t.test('two Authorization headers are refused, even when one of them is valid', async t => {
  const grantd = await startApp(t)
  const good = `Bearer ${await grantd.adminToken(['*'])}`
  const other = `Bearer ${await grantd.adminToken(['acme'])}`
  for (const [first, second] of [
    [good, good],
    [good, other],
    [good, 'Bearer bad'],
    ['Bearer bad', good],
    [good, 'Basic YTpi'],
    ['Basic YTpi', good],
    [good, ''],
    ['', good]
  ] as const) {
    const headers = ['Host', 'grantd', 'Authorization', first, 'Authorization', second]
    const answer = await grantd.send('GET', COLLECTION, { headers })
    t.equal(answer.status, 401, `${first.slice(0, 10)} and ${second.slice(0, 10)}`)
    t.match(answer.headers['www-authenticate'], /^Bearer/)
  }
})

// [ADMIN-9]
t.test('a token of the token endpoint is never an admin token', async t => {
  const grantd = await startApp(t)
  const registered = await grantd.register({ scopes: ['admin', 'site_admin'] })
  const { access_token: accessToken } = (await grantd.exchange(registered)).json()
  t.type(accessToken, 'string')
  for (const { method, path } of OPERATIONS) {
    refusedAsInvalid(t, await grantd.send(method, path, { headers: bearer(accessToken) }), `${method} ${path}`)
  }
  refusedAsInvalid(t, await grantd.send('GET', registered.path, { headers: bearer(accessToken) }), 'its own')
})

t.test('a token without rights on any Site is 403 everywhere (insufficient_scope, RFC 6750 §3.1)', async t => {
  const grantd = await startApp(t)
  await grantd.register()
  for (const sites of [undefined, null, [], '', [''], 7, true, {}, { acme: true }, [7], [['acme']], [{}]]) {
    for (const { method, path } of OPERATIONS) {
      const answer = await grantd.asAdmin(method, path, { sites: sites === undefined ? null : sites })
      t.equal(answer.status, 403, `${method} ${path} ${JSON.stringify(sites)}`)
      t.equal(answer.headers['www-authenticate'], 'Bearer error="insufficient_scope"')
      t.equal(answer.json().code, 'forbidden')
    }
  }
})

t.test('a token that lacks the claim altogether is 403', async t => {
  const grantd = await startApp(t, { environment: { ADMIN_SITES_CLAIM: 'sites' } })
  const answer = await grantd.asAdmin('GET', COLLECTION, { sites: ['*'] })
  t.equal(answer.status, 403)
})

t.test('the configured claim gives the rights', async t => {
  const token = (claim: string) =>
    startApp(t, { environment: { ADMIN_SITES_CLAIM: claim } }).then(grantd => grantd.asAdmin('GET', COLLECTION))
  t.equal((await token('site_admin')).status, 200)
  t.equal((await token('roles')).status, 403)
})

t.test("another Site's registration is byte for byte an unknown one: the same 404 for each operation", async t => {
  const grantd = await startApp(t)
  const acme = await grantd.register()
  const gone = await grantd.register({}, 'globex')
  await grantd.asAdmin('DELETE', gone.path)
  const token = await grantd.adminToken(['globex'])
  const unknown = `/v1/sites/globex/app-registrations/${'z'.repeat(20)}`
  for (const [method, body] of [
    ['GET', ''],
    ['PATCH', '{"enabled":false}'],
    ['DELETE', '']
  ] as const) {
    const expected = await answerTo(grantd, method, unknown, token, body)
    t.match(expected, /^HTTP\/1\.1 404 Not Found\r\n/)
    for (const path of [
      acme.path,
      `/v1/sites/globex/app-registrations/${acme.clientId}`,
      `/v1/sites/acme/app-registrations/${'z'.repeat(20)}`,
      `/v1/sites/never-heard-of/app-registrations/${acme.clientId}`,
      gone.path,
      '/v1/sites/acme/app-registrations/not-an-id',
      '/v1/sites/globex/app-registrations/not-an-id',
      '/v1/sites/..%2Facme/app-registrations/not-an-id'
    ]) {
      t.equal(await answerTo(grantd, method, path, token, body), expected, `${method} ${path}`)
    }
  }
  t.match((await grantd.asAdmin('GET', acme.path)).json(), { enabled: true, clientId: acme.clientId })
})

t.test("another Site's collection is the same 404, whatever is sent to it", async t => {
  const grantd = await startApp(t)
  await grantd.register()
  const token = await grantd.adminToken(['globex'])
  const expected = await answerTo(grantd, 'GET', `/v1/sites/globex/app-registrations/${'z'.repeat(20)}`, token)
  const body = JSON.stringify({ name: 'mine', expiresAt: YEAR_FROM_NOW() })
  for (const site of ['acme', 'never-heard-of', '*', 'GLOBEX', 'globex%20', '%67lobex2', '__proto__', 'constructor']) {
    const path = `/v1/sites/${site}/app-registrations`
    t.equal(await answerTo(grantd, 'GET', path, token), expected, `GET ${path}`)
    t.equal(await answerTo(grantd, 'GET', `${path}?limit=0`, token), expected, `GET ${path}?limit=0`)
    t.equal(await answerTo(grantd, 'POST', path, token, body), expected, `POST ${path}`)
    t.equal(await answerTo(grantd, 'POST', path, token, '{"name":'), expected, `bad POST ${path}`)
  }
  t.equal((await grantd.asAdmin('GET', '/v1/app-registrations')).json().items.length, 1, 'nothing was made')
})

t.test('a path with an id that no Site can have is 404, also for a Global Administrator', async t => {
  const grantd = await startApp(t)
  for (const siteId of ['*', '%2A', '%20', '.', '-a', 'a%2Fb', 'a%00', 'x'.repeat(65), 'é']) {
    for (const path of ['app-registrations', 'notices', 'audit-events']) {
      const answer = await grantd.asAdmin('GET', `/v1/sites/${siteId}/${path}`, { sites: ['*'] })
      t.equal(answer.status, 404, `${siteId} ${path}`)
    }
  }
})

t.test('a Site is the same in every spelling of its path', async t => {
  const grantd = await startApp(t)
  const acme = await grantd.register()
  const encoded = acme.path.replace('acme', '%61cm%65')
  t.equal((await grantd.asAdmin('GET', encoded, { sites: ['acme'] })).status, 200)
  t.equal((await grantd.asAdmin('GET', encoded, { sites: ['globex'] })).status, 404)
})

t.test('an administrator of several Sites has access to each of them and to no other', async t => {
  const grantd = await startApp(t)
  const acme = await grantd.register()
  const globex = await grantd.register({}, 'globex')
  const initech = await grantd.register({}, 'initech')
  const sites = ['acme', 'globex']
  t.equal((await grantd.asAdmin('GET', acme.path, { sites })).status, 200)
  t.equal((await grantd.asAdmin('GET', globex.path, { sites })).status, 200)
  t.equal((await grantd.asAdmin('GET', initech.path, { sites })).status, 404)
  t.equal((await grantd.asAdmin('GET', acme.path.replace(acme.clientId, globex.clientId), { sites })).status, 404)
})

t.test('a Global Administrator (*) has access to every Site and lists over all of them', async t => {
  const grantd = await startApp(t)
  const made = [await grantd.register({}, 'acme'), await grantd.register({}, 'globex')]
  for (const sites of [['*'], '*', ['acme', '*']]) {
    for (const { path } of made) t.equal((await grantd.asAdmin('GET', path, { sites })).status, 200)
    const list = await grantd.asAdmin('GET', '/v1/app-registrations', { sites })
    t.equal(list.status, 200)
    t.same(
      list
        .json()
        .items.map(({ siteId }: { siteId: string }) => siteId)
        .sort(),
      ['acme', 'globex']
    )
  }
})

t.test('the listing of all Sites is 403 for an administrator of single Sites, even of every existing one', async t => {
  const grantd = await startApp(t)
  await grantd.register()
  for (const sites of [['acme'], ['acme', 'globex'], 'acme', ['**'], ['all']]) {
    for (const query of ['', '?siteId=acme', '?limit=0']) {
      const answer = await grantd.asAdmin('GET', `/v1/app-registrations${query}`, { sites })
      t.equal(answer.status, 403, `${JSON.stringify(sites)} ${query}`)
      t.notMatch(answer.text, /acme/)
    }
  }
})

t.test('401 comes before any fault of the body, which is not read', async t => {
  const grantd = await startApp(t)
  const json = { 'content-type': 'application/json' }
  for (const [headers, body] of [
    [json, '{"name":'],
    [json, '{"a":1,"a":2}'],
    [json, '['.repeat(2_000)],
    [json, Buffer.from([0xff, 0xfe])],
    [{ 'content-type': 'text/xml' }, '<a/>'],
    [{}, 'x'],
    [json, 'x'.repeat(20_000)]
  ] as const) {
    const answer = await grantd.send('POST', COLLECTION, { headers, body })
    t.equal(answer.status, 401, String(body).slice(0, 20))
  }
})

t.test('a stranger is answered without waiting for a body that never comes', async t => {
  const grantd = await startApp(t)
  const head = (length: string) =>
    `POST ${COLLECTION} HTTP/1.1\r\nHost: grantd\r\nContent-Type: application/json\r\n${length}\r\n\r\n`
  for (const length of ['Content-Length: 100', 'Content-Length: 10737418240', 'Transfer-Encoding: chunked']) {
    const received = await exchangeBytes(grantd.baseUrl, head(length), text => text.includes('\r\n\r\n'))
    t.match(received, /^HTTP\/1\.1 401 /, length)
  }
})

t.test('a caller without rights is refused before the body is read', async t => {
  const grantd = await startApp(t)
  t.equal((await grantd.asAdmin('POST', COLLECTION, { sites: [], body: '{"name":' })).status, 403)
  t.equal((await grantd.asAdmin('POST', COLLECTION, { sites: ['globex'], body: '{"name":' })).status, 404)
})

// [ADMIN-20]
t.test('no answer of the admin API may be stored', async t => {
  const grantd = await startApp(t)
  const { path } = await grantd.register()
  t.equal((await grantd.asAdmin('GET', path)).headers['cache-control'], 'no-store')
  t.equal((await grantd.asAdmin('GET', COLLECTION)).headers['cache-control'], 'no-store')
  t.equal((await grantd.asAdmin('GET', '/v1/app-registrations')).headers['cache-control'], 'no-store')
  const created = await grantd.asAdmin('POST', COLLECTION, { body: { name: 'n', expiresAt: YEAR_FROM_NOW() } })
  t.equal(created.headers['cache-control'], 'no-store')
})

// [ADMIN-21]
t.test('the reason of a refusal is in the log only', async t => {
  const { log, lines } = capturedLog()
  const grantd = await startApp(t, { log })
  const ask = async (path: string, authorization?: string): Promise<unknown> => {
    const answer = await grantd.send('GET', path, authorization === undefined ? {} : { headers: { authorization } })
    await until('it is logged', () => lines.some(line => line.includes('"msg":"request"')))
    const { reason, administrator } = JSON.parse(lines.find(line => line.includes('"msg":"request"')) ?? '')
    lines.length = 0
    return { status: answer.status, reason, isNamed: administrator !== undefined }
  }
  const token = async (sites: string[]): Promise<string> => `Bearer ${await grantd.adminToken(sites)}`
  t.same(await ask(COLLECTION), { status: 401, reason: 'no_token', isNamed: false })
  t.same(await ask(COLLECTION, 'Bearer x'), { status: 401, reason: 'malformed_token', isNamed: false })
  t.same(await ask(COLLECTION, await token([])), { status: 403, reason: 'no_rights', isNamed: true })
  const expired = `Bearer ${await signAdminToken(['acme'], Date.now() - 86_400_000)}`
  t.same(await ask(COLLECTION, expired), { status: 401, reason: 'token_expired', isNamed: false })
  const without = `Bearer ${await signAdminToken(undefined, Date.now())}`
  t.same(await ask(COLLECTION, without), { status: 403, reason: 'no_sites_claim', isNamed: true })
  t.same(await ask(COLLECTION, await token(['globex'])), { status: 404, reason: 'other_site', isNamed: true })
  t.same(await ask('/v1/app-registrations', await token(['acme'])), {
    status: 403,
    reason: 'not_all_sites',
    isNamed: true
  })
  t.same(await ask(COLLECTION, await token(['acme'])), { status: 200, reason: undefined, isNamed: true })
})

function corsHeaders({ headers }: Answer): string[] {
  return Object.keys(headers).filter(name => name.startsWith('access-control-'))
}

const PREFLIGHT = {
  origin: UI,
  'access-control-request-method': 'POST',
  'access-control-request-headers': 'authorization, content-type'
}

t.test('CORS is off by default: no access-control header on anything, and OPTIONS is 405', async t => {
  const grantd = await startApp(t)
  const { path } = await grantd.register()
  for (const target of [path, COLLECTION, '/v1/app-registrations', '/oauth/token', '/.well-known/jwks.json']) {
    const preflight = await send('OPTIONS', `${grantd.baseUrl}${target}`, { headers: PREFLIGHT })
    t.equal(preflight.status, 405, target)
    t.match(preflight.headers.allow, /GET|POST/)
    t.same(corsHeaders(preflight), [], target)
    const read = await grantd.asAdmin('GET', target, { headers: { origin: UI } })
    t.same(corsHeaders(read), [], target)
  }
  t.same(corsHeaders(await grantd.send('GET', COLLECTION, { headers: { origin: UI } })), [], 'nor on a 401')
})

async function startWithCors(t: Test): Promise<Grantd> {
  return startApp(t, { environment: { ADMIN_CORS_ORIGINS: `${UI}, http://localhost:5173` } })
}

t.test('the listed origins may call the admin API: preflight without a token, then the answer', async t => {
  const grantd = await startWithCors(t)
  const { path } = await grantd.register()
  for (const origin of [UI, 'http://localhost:5173']) {
    for (const target of [path, COLLECTION, '/v1/app-registrations']) {
      const preflight = await send('OPTIONS', `${grantd.baseUrl}${target}`, { headers: { ...PREFLIGHT, origin } })
      t.equal(preflight.status, 204)
      t.equal(preflight.headers['access-control-allow-origin'], origin)
      for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE']) {
        t.match(preflight.headers['access-control-allow-methods'], method)
      }
      for (const name of ['authorization', 'content-type', 'idempotency-key', 'if-match']) {
        t.match(String(preflight.headers['access-control-allow-headers']).toLowerCase(), name)
      }
      t.equal(preflight.headers['access-control-allow-credentials'], undefined, 'cookies are never for us')
      const read = await grantd.asAdmin('GET', target, { headers: { origin } })
      t.equal(read.status, 200)
      t.equal(read.headers['access-control-allow-origin'], origin)
      t.match(String(read.headers['access-control-expose-headers']).toLowerCase(), 'etag')
      t.match(String(read.headers.vary).toLowerCase(), 'origin')
    }
  }
})

t.test('a listed origin can read the headers of a refusal', async t => {
  const grantd = await startWithCors(t)
  const unauthorized = await grantd.send('GET', COLLECTION, { headers: { origin: UI } })
  t.equal(unauthorized.status, 401)
  const forbidden = await grantd.asAdmin('GET', COLLECTION, { sites: [], headers: { origin: UI } })
  t.equal(forbidden.status, 403)
  const missing = await grantd.asAdmin('GET', COLLECTION, { sites: ['globex'], headers: { origin: UI } })
  t.equal(missing.status, 404)
  for (const answer of [unauthorized, forbidden, missing]) {
    t.equal(answer.headers['access-control-allow-origin'], UI)
  }
})

// [ADMIN-13]
t.test('an origin that only resembles a listed one gets no access', async t => {
  const grantd = await startWithCors(t)
  for (const origin of [
    'https://evil.example',
    `${UI}.evil.example`,
    `${UI}:8443`,
    `${UI}/`,
    UI.replace('https', 'http'),
    UI.toUpperCase(),
    'https://sub.admin.example.com',
    'https://example.com',
    'http://localhost',
    'null',
    '*',
    ''
  ]) {
    const preflight = await send('OPTIONS', `${grantd.baseUrl}${COLLECTION}`, { headers: { ...PREFLIGHT, origin } })
    t.equal(preflight.headers['access-control-allow-origin'], undefined, origin)
    const read = await grantd.asAdmin('GET', COLLECTION, { headers: { origin } })
    t.equal(read.headers['access-control-allow-origin'], undefined, origin)
    t.equal(read.status, 200, 'a caller that is no browser is served all the same')
  }
})

t.test('CORS opens the admin API and no other endpoint', async t => {
  const grantd = await startWithCors(t)
  const registered = await grantd.register()
  for (const path of [
    '/oauth/token',
    '/.well-known/oauth-authorization-server',
    '/.well-known/jwks.json',
    '/health/live',
    '/health/ready'
  ]) {
    const preflight = await send('OPTIONS', `${grantd.baseUrl}${path}`, { headers: PREFLIGHT })
    t.equal(preflight.status, 405, path)
    t.same(corsHeaders(preflight), [], path)
    const read = await grantd.send('GET', path, { headers: { origin: UI } })
    t.same(corsHeaders(read), [], path)
  }
  const token = await grantd.requestToken(
    { client_id: registered.clientId, client_secret: registered.clientSecret },
    { origin: UI }
  )
  t.equal(token.status, 200)
  t.same(corsHeaders(token), [])
})

t.test('with CORS open a token is still needed for everything but the preflight', async t => {
  const grantd = await startWithCors(t)
  for (const { method, path } of OPERATIONS) {
    const answer = await grantd.send(method, path, { headers: { origin: UI } })
    t.equal(answer.status, 401, `${method} ${path}`)
  }
  const made = await grantd.asAdmin('PUT', COLLECTION, { headers: { origin: UI }, body: { expiresAt: FUTURE } })
  t.equal(made.status, 405)
})

t.test(
  'a token that a key of access tokens has signed is not an admin token, even from the trusted issuer',
  async t => {
    const issuing = await startApp(t)
    const keys = createRemoteJWKSet(new URL(`${issuing.baseUrl}/.well-known/jwks.json`))
    const misconfigured = await startApp(t, {
      databaseUrl: issuing.databaseUrl,
      environment: { ADMIN_SITES_CLAIM: 'site' },
      trusted: { issuer: issuing.baseUrl, audience: issuing.baseUrl, keys }
    })
    const { access_token: token } = (await issuing.exchange(await issuing.register())).json()
    const answer = await misconfigured.send('GET', '/v1/sites/acme/app-registrations', {
      headers: { authorization: `Bearer ${token}` }
    })
    t.equal(answer.status, 401)
    t.match(answer.headers['www-authenticate'], /invalid_token/)
  }
)
