import t from 'tap'
import { KnownClients, type Proven } from '../../../../src/oauth/token/cache/known-clients.ts'
import type { Credential } from '../../../../src/registrations/repository.ts'

const credential: Credential = {
  client_id: 'a'.repeat(20),
  site_id: 'acme',
  secret_hash: '$argon2id$one',
  credential_number: 1,
  secret_checksum: null,
  previous_secret_hash: null,
  previous_secret_expires_at: null,
  scopes: [],
  enabled: true,
  expires_at: new Date('2027-01-01'),
  version: 1
}
const current: Proven = { credential, secret: 'current' }

t.test('a client is found by the secret that proved right, and by no other', async t => {
  const known = new KnownClients()
  const proof = known.proofOf('right')
  t.equal(known.find(credential.client_id, proof), undefined)
  known.remember(current, proof, 1_000)
  t.equal(known.find(credential.client_id, known.proofOf('right'))?.credential, credential)
  for (const secret of ['wrong', 'righ', 'rightt', '']) {
    t.equal(known.find(credential.client_id, known.proofOf(secret)), undefined, secret)
  }
  t.equal(known.find('b'.repeat(20), proof), undefined)
})

t.test('a proof is for one stored hash: of another it says nothing', async t => {
  const known = new KnownClients()
  const proof = known.proofOf('right')
  known.remember(current, proof, 1_000)
  t.ok(known.isProven(credential.client_id, proof, '$argon2id$one'))
  t.notOk(known.isProven(credential.client_id, proof, '$argon2id$two'))
})

t.test('a proof is worth nothing in another process', async t => {
  t.notSame(new KnownClients().proofOf('right'), new KnownClients().proofOf('right'))
})

t.test(
  'what was read later takes the place of what was known; deleted, or with another secret, it is forgotten',
  async t => {
    const known = new KnownClients()
    const proof = known.proofOf('right')
    known.remember(current, proof, 1_000)
    const disabled = { ...credential, enabled: false, version: 2 }
    known.update(credential.client_id, disabled)
    t.equal(known.find(credential.client_id, proof)?.credential, disabled)
    known.update(credential.client_id, { ...credential, secret_hash: '$argon2id$two', version: 3 })
    t.equal(known.find(credential.client_id, proof), undefined)
    known.remember(current, proof, 1_000)
    known.update(credential.client_id, undefined)
    t.equal(known.find(credential.client_id, proof), undefined)
  }
)

t.test('an exchange by what is no longer the latest read does not make it seem fresh', async t => {
  const known = new KnownClients()
  known.remember(current, known.proofOf('right'), 1_000)
  known.touch(credential, 5_000)
  t.equal(known.exchangedSince(credential.client_id, 4_000), credential)
  t.equal(known.exchangedSince(credential.client_id, 5_000), undefined)
  known.update(credential.client_id, { ...credential, version: 2 })
  known.touch(credential, 9_000)
  t.equal(known.exchangedSince(credential.client_id, 6_000), undefined)
})

t.test('after a rotation a proof is of the previous secret, until that is gone', async t => {
  const known = new KnownClients()
  const [first, second] = [known.proofOf('first'), known.proofOf('second')]
  known.remember(current, first, 1_000)
  const rotated = {
    ...credential,
    secret_hash: '$argon2id$two',
    credential_number: 2,
    previous_secret_hash: '$argon2id$one',
    previous_secret_expires_at: new Date('2026-12-01'),
    version: 2
  }
  known.update(credential.client_id, rotated)
  t.same(known.find(credential.client_id, first), { credential: rotated, secret: 'previous' })
  t.ok(known.isProven(credential.client_id, first, '$argon2id$one'))
  t.notOk(known.isProven(credential.client_id, first, '$argon2id$two'))
  t.equal(known.find(credential.client_id, second), undefined)
  known.remember({ credential: rotated, secret: 'current' }, second, 2_000)
  t.equal(known.find(credential.client_id, first)?.secret, 'previous', 'both are known')
  t.equal(known.find(credential.client_id, second)?.secret, 'current')
  known.update(credential.client_id, {
    ...rotated,
    secret_hash: '$argon2id$three',
    previous_secret_hash: '$argon2id$two'
  })
  t.equal(known.find(credential.client_id, first), undefined)
  t.equal(known.find(credential.client_id, second)?.secret, 'previous')
})
