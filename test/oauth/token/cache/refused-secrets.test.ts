import t from 'tap'
import { createClientSecret, hashClientSecret } from '../../../../src/credentials/secret.ts'
import { KnownClients } from '../../../../src/oauth/token/cache/known-clients.ts'
import { RefusedSecrets } from '../../../../src/oauth/token/cache/refused-secrets.ts'
import {
  credentialOf,
  KNOWN,
  right,
  startAuthentication,
  storedHash,
  wrong
} from '../../../fixtures/app/authentication.ts'

const OTHER = 'o'.repeat(20)

function start() {
  const { gate, clock, authenticate } = startAuthentication()
  /** @param hash stored for this client; undefined when it is unknown */
  const authenticateBy = (clientId: string, clientSecret: string, hash: string | undefined, source?: string) => {
    const credential = hash === undefined ? undefined : credentialOf({ client_id: clientId, secret_hash: hash })
    return authenticate(clientId, clientSecret, credential, source)
  }
  const refused = async (...presented: Parameters<typeof authenticateBy>): Promise<number> => {
    const before = gate.hashes
    await t.rejects(authenticateBy(...presented), { message: 'Client authentication failed.' })
    return gate.hashes - before
  }
  return { gate, clock, authenticate: authenticateBy, refused }
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

// [SECRET-7]
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
