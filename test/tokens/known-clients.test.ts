import t from 'tap'
import type { Credential } from '../../src/registrations/repository.ts'
import { KnownClients } from '../../src/tokens/known-clients.ts'

const credential: Credential = {
  client_id: 'a'.repeat(20),
  site_id: 'acme',
  secret_hash: '$argon2id$one',
  scopes: [],
  enabled: true,
  expires_at: new Date('2027-01-01'),
  version: 1
}

t.test('a client is found by the secret that proved right, and by no other', async t => {
  const known = new KnownClients()
  const proof = known.proofOf('right')
  t.equal(known.find(credential.client_id, proof), undefined)
  known.remember(credential, proof, 1_000)
  t.equal(known.find(credential.client_id, known.proofOf('right')), credential)
  for (const secret of ['wrong', 'righ', 'rightt', '']) {
    t.equal(known.find(credential.client_id, known.proofOf(secret)), undefined, secret)
  }
  t.equal(known.find('b'.repeat(20), proof), undefined)
})

t.test('a proof is for one stored hash: of another it says nothing', async t => {
  const known = new KnownClients()
  const proof = known.proofOf('right')
  known.remember(credential, proof, 1_000)
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
    known.remember(credential, proof, 1_000)
    const disabled = { ...credential, enabled: false, version: 2 }
    known.update(credential.client_id, disabled)
    t.equal(known.find(credential.client_id, proof), disabled)
    known.update(credential.client_id, { ...credential, secret_hash: '$argon2id$two', version: 3 })
    t.equal(known.find(credential.client_id, proof), undefined)
    known.remember(credential, proof, 1_000)
    known.update(credential.client_id, undefined)
    t.equal(known.find(credential.client_id, proof), undefined)
  }
)

t.test('an exchange by what is no longer the latest read does not make it seem fresh', async t => {
  const known = new KnownClients()
  known.remember(credential, known.proofOf('right'), 1_000)
  known.touch(credential, 5_000)
  t.equal(known.exchangedSince(credential.client_id, 4_000), credential)
  t.equal(known.exchangedSince(credential.client_id, 5_000), undefined)
  known.update(credential.client_id, { ...credential, version: 2 })
  known.touch(credential, 9_000)
  t.equal(known.exchangedSince(credential.client_id, 6_000), undefined)
})
