import { decodeJwt } from 'jose'
import t from 'tap'
import { createClientSecret } from '../../../src/credentials/secret.ts'
import { Registry } from '../../../src/metrics/registry.ts'
import { Clock, startApp } from '../../fixtures/app/app.ts'
import { type ClientKey, makeClientKey, registerKeyClient, requestWithAssertion } from '../../fixtures/app/assertion.ts'
import { createDatabase } from '../../fixtures/app/database.ts'
import { proofClaims, proofFor, signProof } from '../../fixtures/app/dpop.ts'
import type { Answer, Grantd, Json } from '../../fixtures/app/grantd.ts'
import { capturedLog } from '../../fixtures/app/log.ts'
import { readMetric } from '../../fixtures/app/metrics.ts'
import { exchangeBytes } from '../../fixtures/app/raw-http.ts'
import { claimsFor, registerWorkload } from '../../fixtures/app/workload.ts'
import { proxyPostgres } from '../../fixtures/faults/tcp-proxy.ts'
import { makeKey, startIdentityProvider } from '../../fixtures/peers/identity-provider.ts'
import { until } from '../../fixtures/run/until.ts'

const key = await makeClientKey()
const other = await makeClientKey()

type Credentials = Pick<Awaited<ReturnType<Grantd['register']>>, 'clientId' | 'clientSecret'>

/** A token request with a secret and a DPoP header. */
function ask(grantd: Grantd, { clientId, clientSecret }: Credentials, dpop: string, scope?: string): Promise<Answer> {
  const parameters = { client_id: clientId, client_secret: clientSecret, ...(scope !== undefined && { scope }) }
  return grantd.requestToken(parameters, { dpop })
}

/** What a refusal looks like on the wire, without the time and the id of the request. */
function seen({ status, text, headers }: Answer): unknown {
  const { date, 'x-request-id': _, ...rest } = headers
  return { status, text, headers: rest, hasDate: date !== undefined }
}

function isBoundTo(answer: Answer, { credential: { keyId } }: ClientKey): boolean {
  const { access_token: token, token_type: type } = answer.json()
  const { cnf } = decodeJwt<{ cnf?: Json }>(token)
  return answer.status === 200 && type === 'DPoP' && cnf.jkt === keyId && Object.keys(cnf).length === 1
}

t.test('a client with a secret, a key or a workload token gets a token that is bound (RFC 9449 §5)', async t => {
  const issuer = await startIdentityProvider(t)
  const issuerKey = await makeKey('RS256', 'first')
  issuer.publish([issuerKey])
  const grantd = await startApp(t, { environment: { FEDERATED_ISSUERS: issuer.issuer } })
  const secret = await grantd.register()
  const keyClient = await registerKeyClient(grantd)
  const workload = await registerWorkload(grantd, issuer.issuer)
  const workloadToken = await issuer.sign(issuerKey, claimsFor(grantd))
  type Headers = Record<string, string>
  const requests = {
    secret: (headers: Headers) =>
      grantd.requestToken({ client_id: secret.clientId, client_secret: secret.clientSecret }, headers),
    key: async (headers: Headers) => requestWithAssertion(grantd, await keyClient.sign(), {}, headers),
    workload: (headers: Headers) =>
      requestWithAssertion(grantd, workloadToken, { client_id: workload.clientId }, headers)
  }
  for (const [credential, request] of Object.entries(requests)) {
    for (const time of ['first', 'cached']) {
      t.ok(isBoundTo(await request({ dpop: proofFor(grantd, key) }), key), `${credential}, ${time}`)
      t.ok(isBoundTo(await request({ dpop: proofFor(grantd, other) }), other), `${credential}, ${time}, another key`)
      const bearer = await request({})
      t.equal(bearer.json().token_type, 'Bearer')
      t.notOk('cnf' in decodeJwt(bearer.json().access_token))
    }
  }
})

t.test('a key client may bind its token to the key of its assertions', async t => {
  const grantd = await startApp(t)
  const client = await registerKeyClient(grantd)
  const answer = await requestWithAssertion(grantd, await client.sign(), {}, { dpop: proofFor(grantd, client.key) })
  t.ok(isBoundTo(answer, client.key))
})

t.test('a bad proof is 400 invalid_dpop_proof that says what to do, first and from the cache', async t => {
  const metrics = new Registry()
  const { log, lines } = capturedLog()
  const grantd = await startApp(t, { metrics, log })
  const good = () => proofFor(grantd, key)
  for (const [reason, dpop, description] of [
    ['malformed_dpop_proof', () => 'x', /one signed JWT of at most 4096/],
    ['malformed_dpop_proof', () => '', /one DPoP header/],
    ['malformed_dpop_proof', () => 'x'.repeat(5_000), /4096/],
    ['dpop_header', () => signProof(key, {}, { typ: 'JWT' }), /dpop\+jwt/],
    ['dpop_key', () => signProof(key, {}, { jwk: {} }), /public key/],
    ['wrong_dpop_proof', () => signProof(key, {}, { jwk: other.credential.jwk }), /signature/],
    ['dpop_target', () => proofFor(grantd, key, { htm: 'GET' }), /htm must be POST/],
    [
      'dpop_target',
      () => proofFor(grantd, key, { htu: 'https://a.example' }),
      new RegExp(`${grantd.baseUrl}/oauth/token`)
    ],
    ['dpop_time', () => proofFor(grantd, key, { iat: 1 }), /60 seconds ago/],
    ['dpop_jti', () => proofFor(grantd, key, { jti: '' }), /1 to 255/]
  ] as const) {
    const registration = await grantd.register()
    for (const time of ['first', 'cached']) {
      const answer = await ask(grantd, registration, dpop())
      t.match(
        { status: answer.status, ...answer.json() },
        { status: 400, error: 'invalid_dpop_proof', error_description: description },
        `${reason}, ${time}`
      )
      t.equal(answer.headers['cache-control'], 'no-store')
      t.notOk('www-authenticate' in answer.headers)
      if (time === 'first') t.equal((await ask(grantd, registration, good())).status, 200)
    }
  }
  const counted = (await readMetric(metrics, 'grantd_token_requests_total')) ?? {}
  t.equal(counted['{outcome="dpop_target"}'], 4)
  t.notMatch(lines.join('\n'), new RegExp(good().slice(0, 40)), 'no proof is logged')
})

// [DPOP-8]
t.test('a bad proof changes nothing about a refused client: the bytes are those of a wrong secret', async t => {
  const clock = new Clock()
  const grantd = await startApp(t, { now: clock.now })
  const live = await grantd.register()
  const wrong = { ...live, clientSecret: createClientSecret('grantd_') }
  const unknown = { clientId: '0'.repeat(20), clientSecret: createClientSecret('grantd_') }
  const bound = { ...(await grantd.register({ dpopBound: true })), clientSecret: createClientSecret('grantd_') }
  await grantd.exchange(live)
  const proofs = {
    none: undefined,
    good: signProof(key, proofClaims(`${grantd.baseUrl}/oauth/token`, clock.time)),
    empty: '',
    junk: 'x, y',
    'wrongly signed': signProof(key, {}, { jwk: other.credential.jwk })
  }
  const expected = seen(await grantd.exchange(wrong))
  for (const [proof, dpop] of Object.entries(proofs)) {
    for (const [client, { clientId, clientSecret }] of Object.entries({ wrong, unknown, bound })) {
      const headers = dpop === undefined ? {} : { dpop }
      const answer = await grantd.requestToken({ client_id: clientId, client_secret: clientSecret }, headers)
      t.same(seen(answer), expected, `proof: ${proof}, client: ${client}`)
    }
  }
  await grantd.asAdmin('PATCH', live.path, { body: { enabled: false } })
  const disabled = seen(await grantd.exchange(live))
  for (const dpop of ['', 'x', proofs.good]) t.same(seen(await ask(grantd, live, dpop)), disabled)
})

// [DPOP-9]
t.test('a bad proof is no exchange: neither Last used nor exchangeCount moves, and the diagnosis shows it', async t => {
  const clock = new Clock()
  const grantd = await startApp(t, { now: clock.now })
  const registration = await grantd.register({ scopes: ['a'] })
  const use = async () => {
    const { lastUsedAt, exchangeCount } = (await grantd.asAdmin('GET', registration.path)).json()
    return { lastUsedAt, exchangeCount }
  }
  t.equal((await ask(grantd, registration, 'x')).status, 400)
  t.same(await use(), { lastUsedAt: null, exchangeCount: 0 }, 'of a client that is looked up')
  await grantd.exchange(registration)
  const used = { lastUsedAt: new Date(clock.time).toISOString(), exchangeCount: 1 }
  clock.advance(60_000)
  t.equal((await ask(grantd, registration, 'x')).status, 400)
  t.same(await use(), used, 'of a client that is cached')
  await until('the diagnosis shows the refusal', async () => {
    const { refusals } = (await grantd.asAdmin('GET', `${registration.path}/diagnosis`)).json()
    return refusals.withCredential?.reason === 'malformed_dpop_proof'
  })
})

t.test('two DPoP header lines are 400, also when one is empty or both are the same (RFC 9449 §4.3)', async t => {
  const grantd = await startApp(t)
  const { clientId, clientSecret } = await grantd.register()
  const body = new URLSearchParams({
    grant_type: 'client_credentials',
    client_id: clientId,
    client_secret: clientSecret
  }).toString()
  const send = (...lines: string[]) =>
    exchangeBytes(
      grantd.baseUrl,
      [
        ...['POST /oauth/token HTTP/1.1', 'Host: x', 'Content-Type: application/x-www-form-urlencoded'],
        ...[`Content-Length: ${body.length}`, 'Connection: close', ...lines, '', body]
      ].join('\r\n')
    )
  const good = proofFor(grantd, key)
  t.match(await send(`DPoP: ${good}`), /^HTTP\/1\.1 200 /)
  t.match(await send(`dPOP:${good}  `), /^HTTP\/1\.1 200 /, 'names of headers are case-insensitive')
  for (const lines of [
    [`DPoP: ${good}`, `DPoP: ${proofFor(grantd, key)}`],
    [`DPoP: ${good}`, `dpop: ${good}`],
    [`DPoP: ${good}`, 'DPoP:'],
    ['DPoP:', `DPoP: ${good}`],
    ['DPoP:']
  ]) {
    t.match(await send(...lines), /^HTTP\/1\.1 400 (.|\r\n)*"error":"invalid_dpop_proof"/, lines.join())
  }
})

// [DPOP-10]
t.test('a registration with dpopBound gets no bearer token, from the moment it is set (RFC 9449 §5.2)', async t => {
  const grantd = await startApp(t)
  const registration = await grantd.register({ dpopBound: true })
  for (const time of ['first', 'cached']) {
    const refused = await grantd.exchange(registration)
    t.match(
      { status: refused.status, ...refused.json() },
      { status: 400, error: 'invalid_dpop_proof', error_description: /must send a DPoP proof/ },
      time
    )
    t.ok(isBoundTo(await ask(grantd, registration, proofFor(grantd, key)), key), time)
  }
  const later = await grantd.register()
  t.equal((await grantd.exchange(later)).status, 200)
  await grantd.asAdmin('PATCH', later.path, { body: { dpopBound: true } })
  t.equal((await grantd.exchange(later)).status, 400, 'set')
  await grantd.asAdmin('PATCH', later.path, { body: { dpopBound: false } })
  t.equal((await grantd.exchange(later)).status, 200, 'unset')
})

// [DPOP-11]
t.test('htu goes by ISSUER with its path, whatever Host and X-Forwarded headers say (RFC 9449 §4.3)', async t => {
  const grantd = await startApp(t, { environment: { ISSUER: 'https://auth.example.com/tenant' } })
  const registration = await grantd.register()
  const withHtu = (htu: string, headers: Record<string, string> = {}) =>
    grantd.requestToken(
      { client_id: registration.clientId, client_secret: registration.clientSecret },
      { dpop: proofFor(grantd, key, { htu }), ...headers }
    )
  const confusing = { host: 'evil.example', 'x-forwarded-host': 'evil.example', 'x-forwarded-proto': 'http' }
  for (const headers of [{}, confusing]) {
    t.equal((await withHtu('https://auth.example.com/tenant/oauth/token', headers)).status, 200)
    t.equal((await withHtu('https://auth.example.com:443/tenant/oauth/token?x#y', headers)).status, 200)
    for (const htu of [
      `${grantd.baseUrl}/oauth/token`,
      'https://evil.example/tenant/oauth/token',
      'https://auth.example.com/oauth/token',
      'http://auth.example.com/tenant/oauth/token'
    ]) {
      t.equal((await withHtu(htu, headers)).json().error, 'invalid_dpop_proof', htu)
    }
  }
})

// [DPOP-12]
t.test('a proof that is sent again binds the token to the key of its first sender (RFC 9449 §11.1)', async t => {
  const one = await startApp(t)
  const grantd = await startApp(t, { databaseUrl: one.databaseUrl, environment: { ISSUER: one.baseUrl } })
  const owner = await one.register()
  const proof = proofFor(one, key)
  t.ok(isBoundTo(await ask(one, owner, proof), key))
  // A thief without a credential gets nothing. With one, the token is bound to a key that the thief does not hold.
  t.equal((await one.requestToken({ client_id: owner.clientId }, { dpop: proof })).status, 401)
  for (const instance of [one, grantd]) t.ok(isBoundTo(await ask(instance, owner, proof), key))
  t.ok(isBoundTo(await ask(grantd, await one.register(), proof), key), 'with the credential of another client')
})

t.test('while the database is away, a recent client gets a bound token, and a bad proof is 400', async t => {
  const databaseUrl = await createDatabase(t)
  const { proxy, url } = await proxyPostgres(t, databaseUrl)
  const grantd = await startApp(t, { databaseUrl: url })
  const [warm, cold] = [await grantd.register(), await grantd.register()]
  t.equal((await grantd.exchange(warm)).status, 200)
  await proxy.refuse()
  t.ok(isBoundTo(await ask(grantd, warm, proofFor(grantd, key)), key))
  t.equal((await ask(grantd, warm, 'x')).json().error, 'invalid_dpop_proof')
  t.equal((await ask(grantd, cold, 'x')).status, 503, 'nothing is said before the client is authenticated')
})
