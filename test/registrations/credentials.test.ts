import t from 'tap'
import { credentialUses, previousCredentialOf } from '../../src/registrations/credentials.ts'

t.test('a use that is older than a credential counts for an earlier one', async t => {
  const day = (date: number) => new Date(Date.UTC(2026, 0, date))
  const secrets = {
    credential_number: 3,
    secret_created_at: day(20),
    previous_secret_created_at: day(10),
    previous_secret_expires_at: day(30),
    odd_credential_used_at: day(5),
    even_credential_used_at: day(15)
  }
  t.same(credentialUses(secrets), { current: null, previous: day(15) })
  t.same(credentialUses({ ...secrets, odd_credential_used_at: day(20) }), { current: day(20), previous: day(15) })
  t.same(credentialUses({ ...secrets, even_credential_used_at: day(9) }), { current: null, previous: null })
  const first = { ...secrets, credential_number: 1, secret_created_at: day(1), previous_secret_created_at: null }
  t.same(credentialUses(first), { current: day(5), previous: null })
  t.equal(previousCredentialOf(secrets, day(30).getTime()), undefined)
  t.same(previousCredentialOf(secrets, day(30).getTime() - 1), {
    createdAt: day(10),
    expiresAt: day(30),
    lastUsedAt: day(15)
  })
  t.equal(previousCredentialOf(first, 0), undefined)
})
