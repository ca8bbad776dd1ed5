import t from 'tap'
import { createClientSecret, hashClientSecret } from '../../src/registrations/client-secret.ts'
import { HashGate } from '../../src/registrations/hash-gate.ts'
import { authenticateClient, SecretVerifier } from '../../src/tokens/client-authentication.ts'
import { FailureBrake } from '../../src/tokens/failure-brake.ts'
import { KnownClients } from '../../src/tokens/known-clients.ts'
import { RefusedSecrets } from '../../src/tokens/refused-secrets.ts'

/** Counts the hashes that are computed. */
class CountingGate extends HashGate {
  hashes = 0

  override run<T>(work: () => Promise<T>): Promise<T> {
    this.hashes++
    return super.run(work)
  }
}

const KNOWN = 'k3v9x2m7q1w8z5t4r6y0'
const OTHER = 'o'.repeat(20)
const right = createClientSecret('grantd_')
const wrong = createClientSecret('grantd_')
const storedHash = await hashClientSecret(right)

function start() {
  const gate = new CountingGate(1, 10)
  const clock = { time: 1_000_000 }
  const known = new KnownClients()
  const needs = {
    known,
    verifier: new SecretVerifier(gate),
    brake: new FailureBrake(1_000),
    now: () => clock.time
  }
  /** @param hash stored for this client; undefined when it is unknown */
  const authenticate = (clientId: string, clientSecret: string, hash: string | undefined, source = '192.0.2.1') =>
    authenticateClient(
      needs,
      { clientId, clientSecret, usesHeader: false, scope: undefined },
      known.proofOf(clientSecret),
      hash === undefined
        ? undefined
        : {
            client_id: clientId,
            site_id: 's',
            secret_hash: hash,
            secret_number: 1,
            secret_checksum: null,
            previous_secret_hash: null,
            previous_secret_expires_at: null,
            version: 1,
            scopes: [],
            enabled: true,
            expires_at: new Date(Number.MAX_SAFE_INTEGER)
          },
      source
    )
  const refused = async (...presented: Parameters<typeof authenticate>): Promise<number> => {
    const before = gate.hashes
    await t.rejects(authenticate(...presented), { message: 'Client authentication failed.' })
    return gate.hashes - before
  }
  return { gate, clock, authenticate, refused }
}

for (const [who, hash] of [
  ['a known', storedHash],
  ['an unknown', undefined]
] as const) {
  t.test(`a wrong secret of ${who} client costs one hash a minute from one source`, async t => {
    const { clock, refused } = start()
    t.equal(await refused(KNOWN, wrong, hash), 1)
    for (let time = 0; time < 5; time++) t.equal(await refused(KNOWN, wrong, hash), 0)
    t.equal(await refused(KNOWN, wrong, hash, '192.0.2.2'), 1, 'another source')
    t.equal(await refused(KNOWN, createClientSecret('grantd_'), hash), 1, 'another secret')
    t.equal(await refused(OTHER, wrong, hash), 1, 'another client')
    clock.time += 60_000
    t.equal(await refused(KNOWN, wrong, hash), 1, 'a minute later')
  })

  t.test(`one secret for two of ${who} clients at once costs two hashes`, async t => {
    const { gate, refused } = start()
    await Promise.all([refused(KNOWN, wrong, hash), refused(OTHER, wrong, hash)])
    t.equal(gate.hashes, 2)
  })
}

t.test('what was refused is taken once it is right for what is stored', async t => {
  const { authenticate, refused } = start()
  await refused(KNOWN, wrong, storedHash)
  await refused(KNOWN, right, undefined)
  t.match(await authenticate(KNOWN, right, storedHash), { proven: { credential: { client_id: KNOWN } } })
  t.match(await authenticate(KNOWN, wrong, await hashClientSecret(wrong)), {
    proven: { credential: { client_id: KNOWN } }
  })
})

t.test('its memory is bounded, and holds nothing of what was presented', async t => {
  const [refused, known] = [new RefusedSecrets(), new KnownClients()]
  const refusalOf = (clientSecret: string) =>
    refused.refusalOf(
      { source: '192.0.2.1', clientId: KNOWN, clientSecret, proof: known.proofOf(clientSecret) },
      storedHash
    )
  const before = process.memoryUsage().heapUsed
  let latest = ''
  for (let index = 0; index < 30_000; index++) {
    latest = refusalOf(`${wrong}${index}`)
    refused.add(latest, 0)
  }
  t.ok(process.memoryUsage().heapUsed - before < 30 * 1_048_576)
  t.ok(refused.has(latest, 1))
  t.notOk(refused.has(refusalOf(`${wrong}0`), 1), 'the first made room')
  t.equal(latest.length, 44)
})
