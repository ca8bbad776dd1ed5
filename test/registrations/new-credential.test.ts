import { generateKeyPairSync, type JsonWebKey, randomUUID } from 'node:crypto'
import { calculateJwkThumbprint } from 'jose'
import t from 'tap'
import { Clock, startApp } from '../fixtures/app/app.ts'
import { dumpTables, query } from '../fixtures/app/database.ts'
import type { Answer, Grantd } from '../fixtures/app/grantd.ts'
import { capturedLog } from '../fixtures/app/log.ts'
import { keyPair } from '../fixtures/app/public-key.ts'
import { COLLECTION, inDays } from '../fixtures/app/registration.ts'
import { until } from '../fixtures/run/until.ts'

const ISSUER = 'https://token.actions.githubusercontent.com'
const FEDERATED_ISSUERS = `${ISSUER},https://cluster.example`
const federated = { issuer: ISSUER, subject: 'repo:acme/device-sync:ref:refs/heads/main' }

const publicHalf = ({ publicKey }: ReturnType<typeof generateKeyPairSync>): JsonWebKey =>
  typeof publicKey === 'object' && 'export' in publicKey ? publicKey.export({ format: 'jwk' }) : {}

const create = (grantd: Grantd, members: object, headers = {}) =>
  grantd.asAdmin('POST', COLLECTION, { body: { name: 'keyed', expiresAt: inDays(30), ...members }, headers })
const rotate = (grantd: Grantd, path: string, body: object, headers = {}) =>
  grantd.asAdmin('POST', `${path}/rotate-secret`, { body, headers })

const placesOf = (answer: Answer): string[] =>
  answer.json().errors.map(({ pointer, code }: { pointer: string; code: string }) => `${pointer} ${code}`)

t.test('a registration is created with a public key of each accepted type, and no answer has a secret', async t => {
  const clock = new Clock()
  const grantd = await startApp(t, { now: clock.now })
  const keys = {
    ES256: keyPair().publicKey,
    ES384: keyPair('P-384').publicKey,
    EdDSA: publicHalf(generateKeyPairSync('ed25519')),
    PS256: publicHalf(generateKeyPairSync('rsa', { modulusLength: 2048 })),
    RS256: { ...publicHalf(generateKeyPairSync('rsa', { modulusLength: 2048 })), alg: 'RS256' }
  }
  for (const [alg, publicKey] of Object.entries(keys)) {
    const answer = await create(grantd, { publicKey: { kid: 'mine', use: 'sig', ...publicKey } })
    t.equal(answer.status, 201, answer.text)
    const { clientSecret, ...registration } = answer.json()
    t.equal(clientSecret, undefined)
    t.same(registration.credential, {
      kind: 'key',
      keyId: await calculateJwkThumbprint(publicKey),
      alg,
      createdAt: new Date(clock.time).toISOString(),
      lastUsedAt: null
    })
    t.equal(registration.previousCredential, null)
    t.same((await grantd.asAdmin('GET', String(answer.headers.location))).json(), registration)
  }
  const listed = (await grantd.asAdmin('GET', COLLECTION)).json().items
  const everywhere = (await grantd.asAdmin('GET', '/v1/app-registrations')).json().items
  for (const items of [listed, everywhere]) {
    t.same(
      items.map(({ credential }: { credential: { alg: string } }) => credential.alg).sort(),
      Object.keys(keys).sort()
    )
  }
  const [row] = await query(grantd.databaseUrl, 'select * from registrations limit 1')
  t.match(row, { secret_hash: null, secret_mac: null, secret_mac_key_id: null, secret_digest: null })
})

t.test('a secret for a registration with a key is refused like one for an unknown client (RFC 6749 §5.2)', async t => {
  const grantd = await startApp(t, { environment: { FEDERATED_ISSUERS } })
  const { clientSecret, clientId: withSecret } = await grantd.register()
  const keyed = (await create(grantd, { publicKey: keyPair().publicKey })).json()
  const workload = (await create(grantd, { federated })).json()
  const [unknown, ...others] = await Promise.all(
    ['0'.repeat(20), keyed.clientId, workload.clientId].map(clientId => grantd.exchange({ clientId, clientSecret }))
  )
  t.equal(unknown?.status, 401)
  for (const { status, text } of others) t.same({ status, text }, { status: 401, text: unknown?.text })
  t.equal((await grantd.exchange({ clientId: withSecret, clientSecret })).status, 200)
})

t.test('a registration is created with a federated subject of a trusted issuer', async t => {
  const grantd = await startApp(t, { environment: { FEDERATED_ISSUERS } })
  const answer = await create(grantd, { federated })
  t.equal(answer.status, 201, answer.text)
  t.equal(answer.json().clientSecret, undefined)
  t.match(answer.json().credential, { kind: 'federated', ...federated, lastUsedAt: null })

  const refused = await create(grantd, { federated: { ...federated, issuer: `${ISSUER}/` } })
  t.equal(refused.status, 400)
  t.same(placesOf(refused), ['/federated/issuer untrusted_issuer'])
  t.match(refused.text, `${ISSUER}, https://cluster.example`, 'the answer names the trusted issuers')
  t.same(placesOf(await create(grantd, { federated: { issuer: ISSUER } })), ['/federated/subject required'])
  t.same(placesOf(await create(grantd, { federated: { issuer: ISSUER, subject: '' } })), [
    '/federated/subject invalid_value'
  ])
  t.same(placesOf(await create(grantd, { federated: { issuer: ISSUER, subject: 'a\u0000b' } })), [
    '/federated/subject invalid_character'
  ])
  const other = { ...federated, audience: 'x', subject: 'a\ud800' }
  t.same(placesOf(await create(grantd, { federated: other })), [
    '/federated/audience unknown_member',
    '/federated/subject invalid_character'
  ])
})

t.test('a federated subject that is its issuer is refused: its token would be read as an own assertion', async t => {
  const grantd = await startApp(t, { environment: { FEDERATED_ISSUERS } })
  const { path } = await grantd.register()
  const body = { federated: { issuer: ISSUER, subject: ISSUER } }
  for (const answer of [await create(grantd, body), await rotate(grantd, path, body)]) {
    t.equal(answer.status, 400)
    t.same(placesOf(answer), ['/federated/subject invalid_value'])
    t.match(answer.text, 'must differ from issuer')
  }
  t.equal((await create(grantd, { federated: { issuer: ISSUER, subject: `${ISSUER}/` } })).status, 201)
})

t.test('a new credential is one of them: a key and a subject together are refused', async t => {
  const grantd = await startApp(t, { environment: { FEDERATED_ISSUERS } })
  const { path } = await grantd.register()
  const both = { publicKey: keyPair().publicKey, federated }
  for (const answer of [await create(grantd, both), await rotate(grantd, path, both)]) {
    t.equal(answer.status, 400)
    t.same(placesOf(answer), ['/federated two_credentials'])
  }
  for (const members of [
    { publicKey: null },
    { publicKey: 'ssh-ed25519 AAAA' },
    { federated: [] },
    { publicKey: [] }
  ]) {
    t.match(placesOf(await create(grantd, members)), [/wrong_type$/])
    t.match(placesOf(await rotate(grantd, path, members)), [/wrong_type$/])
  }
  t.match(await grantd.asAdmin('PATCH', path, { body: { publicKey: keyPair().publicKey } }), { status: 400 })
})

// [SECRET-30]
t.test('a private key is refused, and its value reaches no answer, log, audit event or row', async t => {
  const { log, lines } = capturedLog()
  const grantd = await startApp(t, { log, environment: { FEDERATED_ISSUERS } })
  const { path } = await grantd.register()
  const jwks = [
    keyPair().privateKey.export({ format: 'jwk' }),
    generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' }),
    generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' }),
    { kty: 'oct', k: randomUUID() },
    { ...keyPair().publicKey, d: [randomUUID()] },
    { ...keyPair().publicKey, d: { nested: randomUUID() }, alg: 'none', x: 5 }
  ]
  const before = await dumpTables(grantd.databaseUrl)
  const headers = { 'idempotency-key': randomUUID() }
  const answers: Answer[] = []
  for (const publicKey of jwks) {
    answers.push(
      await create(grantd, { publicKey }, headers),
      await create(grantd, { publicKey, name: '', scopes: [5] }),
      await rotate(grantd, path, { publicKey }, headers),
      await rotate(grantd, path, { publicKey, federated, overlapSeconds: -1 })
    )
  }
  for (const answer of answers) t.equal(answer.status, 400)
  for (const answer of answers.slice(0, -4)) t.ok(placesOf(answer).some(place => place.endsWith(' private_key')))
  t.same(await dumpTables(grantd.databaseUrl), before, 'nothing is stored')
  await until(
    'each request is logged',
    () => lines.filter(line => line.includes('"status":400')).length >= answers.length
  )
  const texts = [...lines, ...answers.map(({ text }) => text)].join('\n')
  for (const { d, k, p, q, dp, dq, qi } of jwks.map(Object)) {
    for (const value of [d, k, p, q, dp, dq, qi].flat().filter(value => value !== undefined)) {
      const text = typeof value === 'string' ? value : String(value.nested)
      t.notOk(texts.includes(text.slice(0, 20)))
    }
  }
})

t.test('every fault of a key is listed at its member, with those of the other fields', async t => {
  const grantd = await startApp(t)
  const { publicKey } = keyPair()
  const answer = await create(grantd, {
    name: '',
    publicKey: { ...publicKey, d: 'x', use: 'enc', alg: 'RS256', y: publicKey.x, pad: 'x'.repeat(4_096) }
  })
  t.same(placesOf(answer).sort(), [
    '/name invalid_length',
    '/publicKey invalid_length',
    '/publicKey invalid_value',
    '/publicKey/alg invalid_value',
    '/publicKey/d private_key',
    '/publicKey/use invalid_value'
  ])
})

t.test('a retry with the same Idempotency-Key gets the same answer for every kind, and another key is 422', async t => {
  const grantd = await startApp(t, { environment: { FEDERATED_ISSUERS } })
  const [one, other] = [keyPair(), keyPair()]
  for (const members of [{ publicKey: one.publicKey }, { federated }]) {
    const headers = { 'idempotency-key': randomUUID() }
    const expiresAt = inDays(20)
    const first = await create(grantd, { ...members, expiresAt }, headers)
    t.equal(first.status, 201)
    t.equal((await create(grantd, { ...members, expiresAt }, headers)).text, first.text)
    t.equal((await create(grantd, { publicKey: other.publicKey, expiresAt }, headers)).status, 422)
    t.equal((await create(grantd, { expiresAt }, headers)).status, 422)

    const { path } = await grantd.register()
    const rotation = { 'idempotency-key': randomUUID() }
    const rotated = await rotate(grantd, path, members, rotation)
    t.equal(rotated.status, 201)
    t.equal((await rotate(grantd, path, members, rotation)).text, rotated.text)
    t.equal((await rotate(grantd, path, { publicKey: other.publicKey }, rotation)).status, 422)
    t.equal((await rotate(grantd, path, {}, rotation)).status, 422)
  }
  t.equal((await grantd.asAdmin('GET', COLLECTION)).json().items.length, 4)
})

t.test('a key costs no hash, so a full queue of hashing does not stop it', async t => {
  const grantd = await startApp(t)
  const flood = Array.from({ length: 60 }, () => create(grantd, {}))
  const keyed = await Promise.all(Array.from({ length: 20 }, () => create(grantd, { publicKey: keyPair().publicKey })))
  t.same(keyed.map(({ status, text }) => (status === 201 ? '' : `${status} ${text}`)).filter(Boolean), [])
  t.ok((await Promise.all(flood)).some(({ status }) => status === 503))
})
