import { decodeJwt } from 'jose'
import { OAuth2Server } from 'oauth2-mock-server'
import t, { type Test } from 'tap'
import { startApp } from '../../fixtures/app/app.ts'
import { registerKeyClient, requestWithAssertion } from '../../fixtures/app/assertion.ts'
import {
  asServingRole,
  countStatements,
  createDatabase,
  openTestPipelinedConnections,
  openTestTables,
  query
} from '../../fixtures/app/database.ts'
import type { Answer, Grantd } from '../../fixtures/app/grantd.ts'
import { capturedLog } from '../../fixtures/app/log.ts'
import { claimsFor, registerWorkload, SUBJECT } from '../../fixtures/app/workload.ts'
import { type IdentityProvider, makeKey, startIdentityProvider } from '../../fixtures/peers/identity-provider.ts'
import { workloadsOf } from '../../fixtures/peers/workloads.ts'
import { until } from '../../fixtures/run/until.ts'

const key = await makeKey('RS256', 'first')
const ec = await makeKey('ES256', 'ec')
const otherKey = await makeKey('RS256', 'other')

async function startIssuer(t: Test, keys = [key, ec]): Promise<IdentityProvider> {
  const issuer = await startIdentityProvider(t)
  issuer.publish(keys)
  return issuer
}

/** An instance that trusts these issuers. */
function startTrusting(t: Test, issuers: readonly string[], options: Parameters<typeof startApp>[1] = {}) {
  return startApp(t, { ...options, environment: { FEDERATED_ISSUERS: issuers.join(), ...options.environment } })
}

function exchangeToken(grantd: Grantd, clientId: string, token: string): Promise<Answer> {
  return requestWithAssertion(grantd, token, { client_id: clientId })
}

/** Returns what a refusal looks like on the wire, without the time and the id of the request. */
function seen({ status, text, headers }: Answer): unknown {
  const { date, 'x-request-id': _, ...rest } = headers
  return { status, text, headers: rest, hasDate: date !== undefined }
}

t.test('the token of each platform in its published shape is exchanged, first and from the cache', async t => {
  const issuer = await startIssuer(t)
  const grantd = await startTrusting(t, [issuer.issuer])
  for (const { platform, alg, header, claims } of workloadsOf(issuer.issuer, grantd.baseUrl, Date.now())) {
    const { clientId } = await registerWorkload(grantd, issuer.issuer, { subject: claims.sub })
    const token = await issuer.sign(alg === 'RS256' ? key : ec, claims, header)
    for (const time of ['first', 'cached', 'cached again']) {
      const answer = await exchangeToken(grantd, clientId, token)
      t.equal(answer.status, 200, `${platform}, ${time}: ${answer.text}`)
      t.match(decodeJwt(answer.json().access_token), { sub: clientId, client_id: clientId, site: 'acme' })
    }
  }
})

t.test('the token of a stock issuer is exchanged', async t => {
  const server = new OAuth2Server()
  await server.issuer.keys.generate('RS256')
  await server.start(0, '127.0.0.1')
  t.teardown(() => server.stop())
  const issuer = server.issuer.url ?? ''
  const grantd = await startTrusting(t, [issuer])
  const { clientId } = await registerWorkload(grantd, issuer)
  const token = await server.issuer.buildToken({
    scopesOrTransform: (_header, payload) => Object.assign(payload, { sub: SUBJECT, aud: grantd.baseUrl })
  })
  t.equal((await exchangeToken(grantd, clientId, token)).status, 200)
})

// [FED-1]
t.test('two Sites may name the same workload, and each gets tokens of its own Site only', async t => {
  const issuer = await startIssuer(t)
  const grantd = await startTrusting(t, [issuer.issuer])
  const token = await issuer.sign(key, claimsFor(grantd))
  const sites = ['acme', 'globex']
  const registered = await Promise.all(
    sites.map(site => registerWorkload(grantd, issuer.issuer, { site, members: { scopes: [`of:${site}`] } }))
  )
  for (const [index, { clientId }] of registered.entries()) {
    const answer = await exchangeToken(grantd, clientId, token)
    t.match(decodeJwt(answer.json().access_token), { sub: clientId, site: sites[index], scope: `of:${sites[index]}` })
  }
})

t.test('client_id is required, because nothing is looked up by subject', async t => {
  const issuer = await startIssuer(t)
  const grantd = await startTrusting(t, [issuer.issuer])
  await registerWorkload(grantd, issuer.issuer)
  const answer = await requestWithAssertion(grantd, await issuer.sign(key, claimsFor(grantd)))
  t.equal(answer.status, 401)
  t.equal(answer.json().error_description, 'Client authentication failed.')
})

// [FED-2]
t.test('a refusal before the proof has the bytes of a wrong secret, for every client', async t => {
  const [issuer, other, stranger] = [await startIssuer(t), await startIssuer(t, [otherKey]), await startIssuer(t)]
  const grantd = await startTrusting(t, [issuer.issuer, other.issuer])
  const federated = await registerWorkload(grantd, issuer.issuer)
  const secret = await grantd.register()
  const { access_token: ownToken } = (await grantd.exchange(secret)).json()
  const clients = {
    federated: federated.clientId,
    'another subject': (await registerWorkload(grantd, issuer.issuer, { subject: 'another' })).clientId,
    secret: secret.clientId,
    key: (await registerKeyClient(grantd)).clientId,
    unknown: '0'.repeat(20)
  }
  const claims = claimsFor(grantd)
  const tokens = {
    'of another trusted issuer with the same subject': await other.sign(otherKey, claims),
    'of another subject': await issuer.sign(key, { ...claims, sub: 'somebody else' }),
    'of another subject for another audience': await issuer.sign(key, { ...claims, sub: 'somebody else', aud: 'x' }),
    'of an issuer that is not trusted': await stranger.sign(key, claims),
    'that claims another issuer': await other.sign(otherKey, { ...claims, iss: issuer.issuer }),
    'by an unknown key': await issuer.sign({ ...otherKey, kid: 'unknown' }, claims),
    'that is our own access token': String(ownToken),
    'of an administrator': await grantd.adminToken(['*']),
    'with a changed signature': `${await issuer.sign(key, claims)}`.replace(/.{8}$/, 'AAAAAAAA')
  }
  const wrong = await grantd.exchange({ clientId: secret.clientId, clientSecret: `grantd_${'0'.repeat(49)}` })
  t.equal(wrong.status, 401)
  for (const [token, text] of Object.entries(tokens)) {
    for (const [client, clientId] of Object.entries(clients)) {
      t.same(seen(await exchangeToken(grantd, clientId, text)), seen(wrong), `a token ${token}, a client: ${client}`)
    }
  }
  const good = await issuer.sign(key, claims)
  for (const client of ['another subject', 'secret', 'key', 'unknown'] as const) {
    t.same(
      seen(await exchangeToken(grantd, clients[client], good)),
      seen(wrong),
      `the right token, a client: ${client}`
    )
  }
  t.equal((await exchangeToken(grantd, clients.federated, good)).status, 200)
  t.same(stranger.requests, [], 'an issuer that is not trusted is never asked')
})

// [FED-3]
t.test('only the workload of the registration learns which check its token fails', async t => {
  const issuer = await startIssuer(t)
  const grantd = await startTrusting(t, [issuer.issuer])
  const { clientId } = await registerWorkload(grantd, issuer.issuer)
  const seconds = Math.floor(Date.now() / 1_000)
  for (const [what, claims, header, description] of [
    ['typ', {}, { typ: 'at+jwt' }, /^typ must be/],
    [
      'aud',
      { aud: 'https://other.example' },
      {},
      /^aud must be the issuer, http:\/\/127\.0\.0\.1:\d+, and nothing else/
    ],
    ['two audiences', { aud: [grantd.baseUrl, 'https://other.example'] }, {}, /^aud must be/],
    ['exp', { exp: seconds - 1 }, {}, /expired/],
    ['age', { iat: seconds - 3_601, exp: seconds + 86_400 }, {}, /older than 3600 seconds/],
    ['iat', { iat: seconds + 60 }, {}, /not valid yet/],
    ['no iat', { iat: undefined }, {}, /exp and iat are required/]
  ] as const) {
    const own = await exchangeToken(grantd, clientId, await issuer.sign(key, claimsFor(grantd, claims), header))
    t.equal(own.status, 401, what)
    t.equal(own.json().error, 'invalid_client')
    t.match(own.json().error_description, description, what)
    const others = { ...claims, sub: 'somebody else' }
    const other = await exchangeToken(grantd, clientId, await issuer.sign(key, claimsFor(grantd, others), header))
    t.equal(other.json().error_description, 'Client authentication failed.', `${what}, another subject`)
  }
})

t.test('the previous credential serves until its end, and its use counts for its own number', async t => {
  const issuer = await startIssuer(t)
  const grantd = await startTrusting(t, [issuer.issuer])
  const { clientId, path } = await registerWorkload(grantd, issuer.issuer, { subject: 'old' })
  const body = { federated: { issuer: issuer.issuer, subject: 'new' }, overlapSeconds: 3_600 }
  t.equal((await grantd.asAdmin('POST', `${path}/rotate-secret`, { body })).status, 201)
  const tokenOf = (sub: string) => issuer.sign(key, claimsFor(grantd, { sub }))
  const uses = () =>
    query(
      grantd.databaseUrl,
      `select odd_credential_used_at is not null as previous, even_credential_used_at is not null as current
         from registration_last_used where client_id = $1`,
      [clientId]
    )
  t.equal((await exchangeToken(grantd, clientId, await tokenOf('old'))).status, 200)
  t.same(await uses(), [{ previous: true, current: false }])
  t.equal((await exchangeToken(grantd, clientId, await tokenOf('new'))).status, 200)
  t.same(await uses(), [{ previous: true, current: true }])
  t.equal((await grantd.asAdmin('DELETE', `${path}/previous-credential`)).status, 204)
  const retired = await exchangeToken(grantd, clientId, await tokenOf('old'))
  t.equal(retired.status, 401)
  t.equal(retired.json().error_description, 'Client authentication failed.')
  t.equal((await exchangeToken(grantd, clientId, await tokenOf('new'))).status, 200)
})

// [FED-19]
t.test(
  'an exchange sends the statements that one by a secret sends: one look-up first, then one statement',
  async t => {
    const issuer = await startIssuer(t)
    const databaseUrl = await createDatabase(t)
    const servingUrl = asServingRole(databaseUrl)
    const tables = openTestTables(t, servingUrl)
    const connections = openTestPipelinedConnections(t, servingUrl)
    const lookups = countStatements(connections.lookups)
    const uses = countStatements(connections.lastUsedWriter)
    const assertions = countStatements(connections.assertionUses)
    const connection = {
      ...{ tables, background: tables.ofAllSites, standings: connections.standings, health: connections.health },
      ...{ lookups: lookups.db, lastUsedWriter: uses.db, assertionUses: assertions.db }
    }
    const grantd = await startTrusting(t, [issuer.issuer], { databaseUrl, connection })
    const counted = async (exchange: () => Promise<Answer>): Promise<number[][]> => {
      const counts: number[][] = []
      for (let i = 0; i < 3; i++) {
        const before = [lookups, uses, assertions].map(({ counts }) => counts.statements)
        t.equal((await exchange()).status, 200)
        counts.push([lookups, uses, assertions].map(({ counts }, index) => counts.statements - (before[index] ?? 0)))
      }
      return counts
    }
    const client = await grantd.register()
    const { clientId } = await registerWorkload(grantd, issuer.issuer)
    const token = await issuer.sign(key, claimsFor(grantd))
    // The first look-up of an instance may come with the one by which Postgres plans the statement.
    await grantd.exchange(await grantd.register())
    const bySecret = await counted(() => grantd.exchange(client))
    t.same(await counted(() => exchangeToken(grantd, clientId, token)), bySecret)
    t.same(bySecret.slice(1), [
      [0, 1, 0],
      [0, 1, 0]
    ])
  }
)

t.test('a workload of a registration that is disabled or has expired is told so', async t => {
  const issuer = await startIssuer(t)
  const grantd = await startTrusting(t, [issuer.issuer])
  const { clientId, path } = await registerWorkload(grantd, issuer.issuer)
  const token = await issuer.sign(key, claimsFor(grantd))
  t.equal((await exchangeToken(grantd, clientId, token)).status, 200)
  const { etag } = (await grantd.asAdmin('GET', path)).headers
  const disabled = { body: { enabled: false }, headers: { 'if-match': String(etag) } }
  t.equal((await grantd.asAdmin('PATCH', path, disabled)).status, 200)
  const answer = await exchangeToken(grantd, clientId, token)
  t.match(answer.json(), { error: 'invalid_client', error_description: 'The registration is disabled.' })
})

t.test('an issuer that is no longer trusted serves nobody, although registrations still name it', async t => {
  const issuer = await startIssuer(t)
  const first = await startTrusting(t, [issuer.issuer])
  const { clientId } = await registerWorkload(first, issuer.issuer)
  const second = await startApp(t, { databaseUrl: first.databaseUrl })
  const token = await issuer.sign(key, claimsFor(second))
  t.equal((await exchangeToken(second, clientId, token)).status, 401)
})

t.test('the log says why a token was refused, and has none of its text', async t => {
  const issuer = await startIssuer(t)
  const { log, lines } = capturedLog()
  const grantd = await startTrusting(t, [issuer.issuer], { log })
  const { clientId } = await registerWorkload(grantd, issuer.issuer)
  const claims = claimsFor(grantd)
  const tokens = {
    untrusted_issuer: await issuer.sign(key, { ...claims, iss: 'https://stranger.example' }),
    wrong_assertion: await issuer.sign({ ...otherKey, kid: 'first' }, claims),
    assertion_audience: await issuer.sign(key, { ...claims, aud: 'x' })
  }
  for (const [reason, token] of Object.entries(tokens)) {
    await exchangeToken(grantd, clientId, token)
    await until(reason, () => lines.some(line => line.includes(`"reason":"${reason}"`)))
    t.notMatch(lines.join(''), token.split('.')[1])
  }
})
