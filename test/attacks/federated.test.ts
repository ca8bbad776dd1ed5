import t, { type Test } from 'tap'
import { HOUR_MS } from '../../src/time.ts'
import { startApp } from '../fixtures/app/app.ts'
import { requestWithAssertion } from '../fixtures/app/assertion.ts'
import type { Answer, Grantd } from '../fixtures/app/grantd.ts'
import { claimsFor, registerWorkload } from '../fixtures/app/workload.ts'
import { advanceClock } from '../fixtures/peers/clock.ts'
import {
  AUDIENCE,
  type IdentityProvider,
  makeKey,
  type ProviderKey,
  startIdentityProvider
} from '../fixtures/peers/identity-provider.ts'
import { until } from '../fixtures/run/until.ts'

const key = await makeKey('ES256', 'first')
const stranger = await makeKey('ES256', 'stranger')
const UNKNOWN_CLIENT = '0'.repeat(20)
const COOL_DOWN_MS = 30_000

async function startTrusting(t: Test): Promise<{ issuer: IdentityProvider; grantd: Grantd; clientId: string }> {
  const issuer = await startIdentityProvider(t)
  issuer.publish([key])
  const environment = { FEDERATED_ISSUERS: issuer.issuer, TOKEN_FAILURE_LIMIT: '1000000' }
  const grantd = await startApp(t, { environment })
  const { clientId } = await registerWorkload(grantd, issuer.issuer)
  return { issuer, grantd, clientId }
}

function exchangeToken(grantd: Grantd, clientId: string, token: string): Promise<Answer> {
  return requestWithAssertion(grantd, token, { client_id: clientId })
}

function unknownKeys(count: number): ProviderKey[] {
  return Array.from({ length: count }, (_, index) => ({ ...stranger, kid: `unknown-${index}` }))
}

/** Requires 503 with the same bytes for the client, for one with a secret and for one that does not exist. */
async function isUnavailable(t: Test, grantd: Grantd, clientId: string, token: string, what: string): Promise<void> {
  const others = [(await grantd.register()).clientId, UNKNOWN_CLIENT]
  const answers = await Promise.all([clientId, ...others].map(client => exchangeToken(grantd, client, token)))
  for (const { status, text, headers } of answers) {
    t.equal(status, 503, what)
    t.equal(headers['retry-after'], '1')
    t.equal(text, answers[0]?.text)
    t.equal(JSON.parse(text).error, 'temporarily_unavailable')
  }
}

// [FED-4]
t.test('addresses and keys in the header of a token lead nowhere (RFC 8725 §3.10)', async t => {
  const { issuer, grantd, clientId } = await startTrusting(t)
  const trap = await startIdentityProvider(t)
  trap.publish([stranger])
  const { jwksUri: url } = trap
  for (const header of [{ jku: url }, { x5u: url }, { jwk: stranger.jwk }, { kid: url }, { kid: '../../etc/passwd' }]) {
    const token = await issuer.sign({ ...stranger, kid: key.kid }, claimsFor(grantd), header)
    t.equal((await exchangeToken(grantd, clientId, token)).status, 401)
  }
  t.same(trap.requests, [])
})

// [FED-5]
t.test('200 tokens with unknown keys cost at most one fetch in 30 seconds, for whichever client they come', async t => {
  const { issuer, grantd, clientId } = await startTrusting(t)
  const good = await issuer.sign(key, claimsFor(grantd))
  t.equal((await exchangeToken(grantd, clientId, good)).status, 200)
  advanceClock(t, COOL_DOWN_MS + 1)
  const tokens = await Promise.all(unknownKeys(200).map(unknown => issuer.sign(unknown, claimsFor(grantd))))
  const clients = [clientId, UNKNOWN_CLIENT]
  const answers = await Promise.all(
    tokens.map((token, index) => exchangeToken(grantd, clients[index % 2] ?? '', token))
  )
  t.same(new Set(answers.map(({ status }) => status)), new Set([401]))
  t.same(new Set(answers.map(({ text }) => text)).size, 1)
  t.equal(issuer.jwksFetches, 2)
})

// [FED-6]
t.test('an issuer that is down is 503 for every client alike, and its return needs no restart', async t => {
  const { issuer, grantd, clientId } = await startTrusting(t)
  const token = await issuer.sign(key, claimsFor(grantd))
  await issuer.stop()
  await isUnavailable(t, grantd, clientId, token, 'without keys')
  await issuer.start()
  await until('it is back', async () => (await exchangeToken(grantd, clientId, token)).status === 200, 5_000)
  await issuer.stop()
  advanceClock(t, 23 * HOUR_MS)
  t.equal((await exchangeToken(grantd, clientId, token)).status, 200, 'the last good keys serve for 23 hours')
  const unknown = await issuer.sign(stranger, claimsFor(grantd))
  await isUnavailable(t, grantd, clientId, unknown, 'it is unknown whether the issuer has this key now')
  advanceClock(t, 2 * HOUR_MS)
  await isUnavailable(t, grantd, clientId, token, 'after 25 hours')
  const secret = await grantd.register()
  t.equal((await grantd.exchange(secret)).status, 200, 'clients with secrets do not notice')
})

// [FED-7]
t.test('an issuer that takes requests and does not answer delays a token request by a second at most', async t => {
  const { issuer, grantd, clientId } = await startTrusting(t)
  const secret = await grantd.register()
  const token = await issuer.sign(key, claimsFor(grantd))
  issuer.isSilent = true
  const startedAt = performance.now()
  const clients = Array.from({ length: 30 }, (_, index) => (index % 2 === 0 ? clientId : UNKNOWN_CLIENT))
  const waiting = Promise.all(clients.map(client => exchangeToken(grantd, client, token)))
  t.equal((await grantd.exchange(secret)).status, 200)
  const secretMs = performance.now() - startedAt
  t.same(new Set((await waiting).map(({ status }) => status)), new Set([503]))
  const waitedMs = performance.now() - startedAt
  t.ok(secretMs < 900, `a client with a secret waited ${secretMs} ms`)
  t.ok(waitedMs < 2_500, `they waited ${waitedMs} ms`)
  t.equal(issuer.requests.length, 1, 'all of them waited for one fetch')
})

// [FED-8]
t.test('a key set without end, a redirect and rubbish are no keys', async t => {
  const elsewhere = await startIdentityProvider(t)
  elsewhere.publish([stranger])
  for (const [what, breakIt] of [
    ['without end', issuer => (issuer.isEndless = true)],
    ['a redirect', issuer => (issuer.redirectsTo = elsewhere.issuer)],
    ['rubbish', issuer => issuer.documents.set('/keys', '{"keys":7}')],
    ['a private key', issuer => issuer.documents.set('/keys', { keys: [{ ...key.jwk, d: 'AAAA' }] })],
    ['keys that are none', issuer => issuer.documents.set('/keys', { keys: [null] })],
    ['nothing', issuer => issuer.documents.delete('/keys')]
  ] as const satisfies readonly (readonly [string, (issuer: IdentityProvider) => unknown])[]) {
    const { issuer, grantd, clientId } = await startTrusting(t)
    breakIt(issuer)
    await isUnavailable(t, grantd, clientId, await issuer.sign(key, claimsFor(grantd)), what)
    t.ok(issuer.endlessBytes < 8_000_000, `${issuer.endlessBytes} bytes were taken`)
  }
  t.same(elsewhere.requests, [])
})

// [FED-9]
t.test("a token of the administrators' issuer proves a workload only when that issuer is listed", async t => {
  const issuer = await startIdentityProvider(t)
  issuer.publish([key])
  const trusted = issuer.trusted()
  const { clientId, databaseUrl } = await registered(t, issuer.issuer)
  const unlisted = await startApp(t, { trusted, databaseUrl })
  t.equal((await exchangeToken(unlisted, clientId, await issuer.sign(key, claimsFor(unlisted)))).status, 401)
  const environment = { FEDERATED_ISSUERS: issuer.issuer }
  const listed = await startApp(t, { trusted, environment, databaseUrl })
  t.equal((await exchangeToken(listed, clientId, await issuer.sign(key, claimsFor(listed)))).status, 200)
  const adminToken = await issuer.sign(key, claimsFor(listed, { aud: AUDIENCE }))
  t.equal((await exchangeToken(listed, clientId, adminToken)).status, 401, 'with the audience of administrators')
})

/** Registers a workload by an instance whose administrators have another issuer. */
async function registered(t: Test, issuer: string): Promise<{ clientId: string; databaseUrl: string }> {
  const grantd = await startApp(t, { environment: { FEDERATED_ISSUERS: issuer } })
  const { clientId } = await registerWorkload(grantd, issuer)
  return { clientId, databaseUrl: grantd.databaseUrl }
}
