import t from 'tap'
import { checksumOf, createClientSecret, hashClientSecret } from '../../../src/credentials/secret.ts'
import { refuseMalformedSecret } from '../../../src/oauth/client-authentication/client-authentication.ts'
import {
  credentialOf,
  KNOWN,
  right,
  startAuthentication,
  storedHash,
  wrong
} from '../../fixtures/app/authentication.ts'
import { caught } from '../../fixtures/run/caught.ts'

t.test('a secret that has proved right here costs no hash again, for the hash that it matched', async t => {
  const { gate, known, authenticate } = startAuthentication()
  const { proven, at } = await authenticate(KNOWN, right, credentialOf())
  t.same(proven, { credential: credentialOf(), secret: 'current' })
  t.equal(gate.hashes, 1)
  known.remember(proven, known.proofOf(right), at)
  await authenticate(KNOWN, right, credentialOf({ version: 2 }))
  t.equal(gate.hashes, 1)
  await authenticate(KNOWN, right, credentialOf({ secret_hash: await hashClientSecret(right) }))
  t.equal(gate.hashes, 2)
})

t.test('the same secret many times at once costs one hash', async t => {
  const { gate, authenticate } = startAuthentication()
  const all = Array.from({ length: 5 }, () => authenticate(KNOWN, right, credentialOf()))
  for (const { proven } of await Promise.all(all)) t.equal(proven.secret, 'current')
  t.equal(gate.hashes, 1)
})

t.test('why somebody is refused is told apart for the log; in the answer only to the holder of the secret', async t => {
  const { clock, authenticate } = startAuthentication()
  const next = createClientSecret('grantd_')
  const rotated = credentialOf({
    secret_hash: await hashClientSecret(next),
    secret_checksum: checksumOf(next),
    previous_secret_hash: storedHash,
    previous_secret_expires_at: new Date(clock.time)
  })
  const stranger = 'Client authentication failed.'
  for (const [reason, message, secret, credential] of [
    ['unknown_client', stranger, wrong, undefined],
    ['unknown_client', stranger, right, undefined],
    ['wrong_secret', stranger, wrong, credentialOf()],
    ['wrong_secret', stranger, wrong, credentialOf({ enabled: false })],
    ['retired_secret', stranger, right, rotated],
    ['retired_secret', stranger, right, { ...rotated, previous_secret_expires_at: null }],
    ['disabled', 'The registration is disabled.', right, credentialOf({ enabled: false })],
    ['expired', 'The registration has expired.', right, credentialOf({ expires_at: new Date(clock.time) })]
  ] as const) {
    await t.rejects(authenticate(KNOWN, secret, credential), { status: 401, code: 'invalid_client', reason, message })
  }
  const { proven } = await authenticate(KNOWN, next, rotated)
  t.equal(proven.secret, 'current')
  clock.time--
  t.equal((await authenticate(KNOWN, right, rotated)).proven.secret, 'previous')
})

t.test('failures are counted, whatever they are; a secret that is proven is served all the same', async t => {
  const { known, authenticate } = startAuthentication({ failureLimit: 2 })
  const { proven, at } = await authenticate(KNOWN, right, credentialOf())
  for (const credential of [credentialOf(), undefined]) {
    await t.rejects(authenticate(KNOWN, wrong, credential), { code: 'invalid_client' })
  }
  const braked = { code: 'slow_down', status: 429, reason: 'too_many_failures' }
  await t.rejects(authenticate(KNOWN, wrong, credentialOf()), braked)
  await t.rejects(authenticate(KNOWN, right, credentialOf()), braked)
  known.remember(proven, known.proofOf(right), at)
  await authenticate(KNOWN, right, credentialOf())
})

t.test('a text that cannot be a secret is refused without a hash, and counts as a failure', async t => {
  const { needs, gate, clock } = startAuthentication({ failureLimit: 2 })
  const refusal = (clientSecret: string): unknown =>
    caught(() =>
      refuseMalformedSecret(
        needs,
        { client: { clientId: KNOWN, credential: { kind: 'secret', secret: clientSecret } }, scope: undefined },
        '192.0.2.1'
      )
    )
  for (const secret of ['', right.slice(0, -1)]) {
    t.match(refusal(secret), { status: 401, code: 'invalid_client', reason: 'malformed_secret' })
  }
  t.match(refusal('x'), { status: 429, reason: 'too_many_failures' })
  t.equal(refusal(right), undefined)
  clock.time += 60_000
  t.match(refusal('x'), { status: 401 })
  t.equal(gate.hashes, 0)
})

t.test('where too many hashes wait, the next is told to come again', async t => {
  const { authenticate } = startAuthentication({ waiting: 1 })
  const secrets = Array.from({ length: 3 }, () => createClientSecret('grantd_'))
  const outcomes = await Promise.allSettled(secrets.map(secret => authenticate(KNOWN, secret, credentialOf())))
  const reasons = outcomes.map(outcome => (outcome.status === 'rejected' ? outcome.reason.reason : undefined))
  t.same(reasons, ['wrong_secret', 'wrong_secret', 'hashing_overloaded'])
})
