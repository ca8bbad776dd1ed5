import { decodeJwt } from 'jose'
import t from 'tap'
import { Clock, startApp } from '../../fixtures/app/app.ts'
import {
  ASSERTION_TYPE,
  claimsOf,
  makeClientKey,
  registerKeyClient,
  requestWithAssertion,
  signAssertion
} from '../../fixtures/app/assertion.ts'
import { createDatabase, query } from '../../fixtures/app/database.ts'
import { basic } from '../../fixtures/app/grantd.ts'
import { inDays } from '../../fixtures/app/registration.ts'
import { proxyPostgres } from '../../fixtures/faults/tcp-proxy.ts'
import { until } from '../../fixtures/run/until.ts'

const GENERIC = { error: 'invalid_client', error_description: 'Client authentication failed.' }

t.test('a client with a key of each kind gets a token, with and without client_id (RFC 7523 §2.2)', async t => {
  const grantd = await startApp(t)
  for (const alg of ['ES256', 'ES384', 'EdDSA', 'PS256', 'RS256'] as const) {
    const client = await registerKeyClient(grantd, { scopes: ['a'] }, { key: await makeClientKey(alg) })
    // The first one looks the client up, and the others find it in the cache.
    for (const parameters of [{}, { client_id: client.clientId }, { scope: 'a' }]) {
      const answer = await requestWithAssertion(grantd, await client.sign(), parameters)
      t.equal(answer.status, 200, `${alg} ${answer.text}`)
      t.match(decodeJwt(answer.json().access_token), { sub: client.clientId, client_id: client.clientId, scope: 'a' })
    }
  }
})

t.test('two ways of authenticating in one request, and two client ids, are 400 (RFC 6749 §2.3)', async t => {
  const grantd = await startApp(t)
  const { clientId, sign } = await registerKeyClient(grantd)
  const secret = await grantd.register()
  const assertion = { client_assertion_type: ASSERTION_TYPE, client_assertion: await sign() }
  const answers = [
    await grantd.requestToken({ ...assertion, client_id: clientId, client_secret: secret.clientSecret }),
    await grantd.requestToken({ ...assertion, client_secret: secret.clientSecret }),
    await grantd.requestToken(assertion, { authorization: basic(secret.clientId, secret.clientSecret) }),
    await grantd.requestToken(
      { client_assertion_type: ASSERTION_TYPE },
      { authorization: basic(secret.clientId, secret.clientSecret) }
    ),
    await grantd.requestToken({ ...assertion, client_id: secret.clientId })
  ]
  for (const answer of answers)
    t.match({ ...answer, error: answer.json().error }, { status: 400, error: 'invalid_request' })
  t.equal((await grantd.requestToken(assertion)).status, 200, 'none of them has used the assertion')
})

t.test('once the signature has proved right, the answer names the check that failed and what to do', async t => {
  const grantd = await startApp(t)
  const client = await registerKeyClient(grantd, { scopes: ['a'] })
  const seconds = Math.floor(Date.now() / 1_000)
  const refusals = async () => {
    for (const [claims, description] of [
      [
        { aud: `${grantd.baseUrl}/oauth/token` },
        `aud must be the issuer, ${grantd.baseUrl}, and nothing else (RFC 10070).`
      ],
      [{ exp: undefined }, 'exp is required: the seconds since 1970 at which the assertion ends.'],
      [{ exp: seconds - 1 }, /^The assertion has ended: /],
      [{ iat: seconds + 60 }, /^iat is more than 10 seconds in the future/],
      [{ jti: undefined }, /^jti is required/]
    ] as const) {
      const answer = await requestWithAssertion(grantd, await client.sign(claims))
      t.equal(answer.status, 401)
      t.match(answer.json(), { error: 'invalid_client', error_description: description })
    }
    const used = await client.sign()
    t.equal((await requestWithAssertion(grantd, used)).status, 200)
    const again = await requestWithAssertion(grantd, used)
    t.equal(again.status, 401)
    t.match(again.json(), { error: 'invalid_client', error_description: /^The assertion was used before/ })
    const scope = await requestWithAssertion(grantd, await client.sign(), { scope: 'b' })
    t.match({ status: scope.status, ...scope.json() }, { status: 400, error: 'invalid_scope' })
  }
  await refusals()
  await refusals()
})

t.test('a secret proves no registration with a key, and an assertion none with a secret', async t => {
  const grantd = await startApp(t)
  const key = await makeClientKey()
  const { clientId, clientSecret } = await grantd.register()
  const claims = () => claimsOf(clientId, grantd.baseUrl, Date.now())
  const refused = await requestWithAssertion(grantd, await signAssertion(key, claims()))
  t.same({ status: refused.status, ...refused.json() }, { status: 401, ...GENERIC })
  t.equal((await grantd.exchange({ clientId, clientSecret })).status, 200)
  await query(
    grantd.databaseUrl,
    'update registrations set credential = $1, secret_hash = null, secret_mac = null, secret_mac_key_id = null, version = 2',
    [JSON.stringify(key.credential)]
  )
  const formerly = await grantd.exchange({ clientId, clientSecret })
  t.same({ status: formerly.status, ...formerly.json() }, { status: 401, ...GENERIC })
  t.equal((await requestWithAssertion(grantd, await signAssertion(key, claims()))).status, 200)
})

// [ASSERTION-4]
t.test(
  'check 4: during a rotation both keys prove the client, each has its own Last used, and a retired key proves nothing',
  async t => {
    const clock = new Clock()
    const grantd = await startApp(t, { now: clock.now })
    const old = await registerKeyClient(grantd, { expiresAt: inDays(60, clock.time) }, { now: clock.now })
    const next = await makeClientKey('EdDSA')
    await query(
      grantd.databaseUrl,
      `update registrations set previous_credential = credential, credential = $1, credential_number = 2, version = version + 1,
       previous_secret_created_at = secret_created_at, secret_created_at = $2, previous_secret_expires_at = $3`,
      [JSON.stringify(next.credential), new Date(clock.time), new Date(clock.time + 60_000)]
    )
    const ask = async (sign: () => Promise<string>) => {
      const { status, text } = await requestWithAssertion(grantd, await sign())
      return { status, text }
    }
    const signNext = () => signAssertion(next, claimsOf(old.clientId, grantd.baseUrl, clock.time))
    const uses = () =>
      query(
        grantd.databaseUrl,
        'select odd_credential_used_at as old, even_credential_used_at as next from registration_last_used'
      )
    for (let round = 0; round < 2; round++) {
      clock.advance(1_000)
      t.match(await ask(old.sign), { status: 200 })
      const at = new Date(clock.time)
      clock.advance(1_000)
      t.match(await ask(signNext), { status: 200 })
      t.same(await uses(), [{ old: at, next: new Date(clock.time) }])
    }
    clock.advance(60_000)
    t.same(await ask(old.sign), { status: 401, text: JSON.stringify(GENERIC) })
    t.match(await ask(signNext), { status: 200 })
  }
)

// [ASSERTION-9]
t.test('check 9: a disabled and an expired registration are refused, and say so to their own client only', async t => {
  const clock = new Clock()
  const grantd = await startApp(t, { now: clock.now })
  const client = await registerKeyClient(grantd, { expiresAt: inDays(1, clock.time) }, { now: clock.now })
  const stranger = await makeClientKey()
  const ask = async () => {
    const claims = claimsOf(client.clientId, grantd.baseUrl, clock.time)
    const [own, others] = [await client.sign(), await signAssertion(stranger, claims)]
    return [(await requestWithAssertion(grantd, own)).json(), (await requestWithAssertion(grantd, others)).json()]
  }
  t.match(await ask(), [{ access_token: /./ }, GENERIC])
  await grantd.asAdmin('PATCH', client.path, { body: { enabled: false } })
  t.match(await ask(), [{ error_description: 'The registration is disabled.' }, GENERIC])
  await grantd.asAdmin('PATCH', client.path, { body: { enabled: true } })
  clock.advance(86_400_000)
  t.match(await ask(), [{ error_description: 'The registration has expired.' }, GENERIC])
})

t.test(
  'a registration that has changed since it was cached is read again, and its assertion is still used once',
  async t => {
    const grantd = await startApp(t)
    const other = await startApp(t, { databaseUrl: grantd.databaseUrl, environment: { ISSUER: grantd.baseUrl } })
    const client = await registerKeyClient(grantd)
    for (let round = 0; round < 5; round++) {
      const assertion = await client.sign()
      t.equal((await requestWithAssertion(grantd, assertion)).status, 200)
      t.equal((await requestWithAssertion(grantd, assertion)).status, 401)
      await other.asAdmin('PATCH', client.path, { body: { name: `renamed ${round}` } })
    }
  }
)

// [ASSERTION-11]
t.test('of 50 copies of one assertion at once over two instances, one gets a token', async t => {
  const one = await startApp(t)
  const other = await startApp(t, { databaseUrl: one.databaseUrl, environment: { ISSUER: one.baseUrl } })
  const client = await registerKeyClient(one)
  for (let round = 0; round < 5; round++) {
    const assertion = await client.sign()
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, copy) => requestWithAssertion(copy % 2 === 0 ? one : other, assertion))
    )
    t.equal(answers.filter(({ status }) => status === 200).length, 1)
    t.equal(answers.filter(({ status }) => status === 401).length, 49)
  }
})

// [ASSERTION-25]
t.test('a refused assertion is no exchange: neither exchangeCount nor Last used moves', async t => {
  const clock = new Clock()
  const one = await startApp(t, { now: clock.now })
  const environment = { ISSUER: one.baseUrl }
  const other = await startApp(t, { databaseUrl: one.databaseUrl, now: clock.now, environment })
  const client = await registerKeyClient(one, { scopes: ['a'] }, { now: clock.now })
  const used = async () => {
    const { exchangeCount, lastUsedAt } = (await one.asAdmin('GET', client.path)).json()
    return { exchangeCount, lastUsedAt }
  }
  // Both have the client in their cache.
  const first = await client.sign()
  t.equal((await requestWithAssertion(one, first)).status, 200)
  t.equal((await requestWithAssertion(other, await client.sign())).status, 200)
  for (let round = 0; round < 3; round++) {
    clock.advance(1_000)
    const assertion = await client.sign()
    const copies = Array.from({ length: 20 }, (_, copy) =>
      requestWithAssertion(copy % 2 === 0 ? one : other, assertion)
    )
    t.equal((await Promise.all(copies)).filter(({ status }) => status === 200).length, 1)
    t.same(await used(), { exchangeCount: round + 3, lastUsedAt: new Date(clock.time).toISOString() })
  }
  const before = await used()
  clock.advance(1_000)
  const isUnmoved = async (what: string, answer: Awaited<ReturnType<typeof requestWithAssertion>>, status: number) => {
    t.equal(answer.status, status, what)
    t.same(await used(), before, what)
  }
  await isUnmoved('used on the other instance', await requestWithAssertion(other, first), 401)
  const late = await client.sign({ exp: Math.floor(clock.time / 1_000) - 1 })
  await isUnmoved('over', await requestWithAssertion(one, late), 401)
  for (const faulty of [{ scope: 'b' }, { resource: 'https://elsewhere.example' }])
    await isUnmoved(JSON.stringify(faulty), await requestWithAssertion(one, await client.sign(), faulty), 400)
  await query(
    one.databaseUrl,
    `update assertion_uses set digests = array(select generate_series(1, 1024)), ends = array_fill($1::timestamptz, array[1024])`,
    [new Date(clock.time + 30_000)]
  )
  for (const grantd of [one, other])
    await isUnmoved('too many', await requestWithAssertion(grantd, await client.sign()), 429)
})

// [ASSERTION-24]
t.test('a client with 1,024 assertions that have not ended gets 429 slow_down with Retry-After', async t => {
  const grantd = await startApp(t)
  const client = await registerKeyClient(grantd)
  t.equal((await requestWithAssertion(grantd, await client.sign())).status, 200)
  await query(
    grantd.databaseUrl,
    `update assertion_uses set digests = array(select generate_series(1, 1024)), ends = array_fill($1::timestamptz, array[1024])`,
    [new Date(Date.now() + 30_000)]
  )
  const answer = await requestWithAssertion(grantd, await client.sign())
  t.match({ status: answer.status, error: answer.json().error }, { status: 429, error: 'slow_down' })
  const wait = Number(answer.headers['retry-after'])
  t.ok(wait > 80 && wait <= 90, `${wait}`)
  const other = await registerKeyClient(grantd)
  t.equal((await requestWithAssertion(grantd, await other.sign())).status, 200, 'another client is not concerned')
})

t.test('exchanges leave one row for each client that uses a key, and none for clients with secrets', async t => {
  const grantd = await startApp(t)
  const [key, secret] = [await registerKeyClient(grantd), await grantd.register()]
  for (let exchange = 0; exchange < 20; exchange++) {
    t.equal((await requestWithAssertion(grantd, await key.sign())).status, 200)
    t.equal((await grantd.exchange(secret)).status, 200)
  }
  t.same(await query(grantd.databaseUrl, 'select client_id, cardinality(digests) as kept from assertion_uses'), [
    { client_id: key.clientId, kept: 20 }
  ])
})

// [ASSERTION-22]
t.test(
  'while the database is away, a recent client gets a token for each assertion once, and others get 503',
  async t => {
    const databaseUrl = await createDatabase(t)
    const { proxy, url } = await proxyPostgres(t, databaseUrl)
    const grantd = await startApp(t, { databaseUrl: url })
    const other = await startApp(t, { databaseUrl, environment: { ISSUER: grantd.baseUrl } })
    const [warm, cold] = [await registerKeyClient(grantd), await registerKeyClient(grantd)]
    const before = await warm.sign()
    t.equal((await requestWithAssertion(grantd, before)).status, 200)
    await proxy.refuse()
    const during = await warm.sign()
    t.equal((await requestWithAssertion(grantd, during)).status, 200)
    for (const used of [before, during]) {
      t.match((await requestWithAssertion(grantd, used)).json(), { error_description: /used before/ })
    }
    const coldAssertion = await cold.sign()
    t.equal((await requestWithAssertion(grantd, coldAssertion)).status, 503)
    const stranger = await signAssertion(await makeClientKey(), claimsOf(warm.clientId, grantd.baseUrl, Date.now()))
    t.equal(
      (await requestWithAssertion(grantd, stranger)).status,
      503,
      'the answer does not reveal which clients are cached'
    )
    await proxy.accept()
    await until(
      'the same assertion is accepted',
      async () => (await requestWithAssertion(grantd, coldAssertion)).status === 200,
      2_000
    )
    for (const instance of [grantd, other]) {
      t.equal((await requestWithAssertion(instance, during)).status, 401, 'the next statement has recorded it')
    }
  }
)
