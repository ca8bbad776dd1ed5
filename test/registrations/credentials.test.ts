import t from 'tap'
import {
  credentialUses,
  describeCredential,
  isSameCredential,
  previousCredentialOf
} from '../../src/registrations/credentials.ts'

t.test('a use that is older than a credential counts for an earlier one', async t => {
  const day = (date: number) => new Date(Date.UTC(2026, 0, date))
  const secrets = {
    credential: null,
    previous_credential: null,
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
    credential: { kind: 'secret' },
    createdAt: day(10),
    expiresAt: day(30),
    lastUsedAt: day(15)
  })
  t.equal(previousCredentialOf(first, 0), undefined)
})

const KEY = { kind: 'key', keyId: 'k', alg: 'PS256', jwk: { kty: 'RSA', n: 'n', e: 'AQAB' } } as const
const SUBJECT = { kind: 'federated', issuer: 'https://issuer.example', subject: 's' } as const
const SECRET = { kind: 'secret' } as const

t.test('credentials are the same when key and algorithm are, or issuer and subject', async t => {
  t.ok(isSameCredential(KEY, { ...KEY }))
  t.ok(isSameCredential(SUBJECT, { ...SUBJECT }))
  for (const [one, other] of [
    [KEY, { ...KEY, keyId: 'other' }],
    [KEY, { ...KEY, alg: 'RS256' }],
    [SUBJECT, { ...SUBJECT, issuer: 'https://issuer.example/' }],
    [SUBJECT, { ...SUBJECT, subject: 'S' }],
    [KEY, SUBJECT],
    [SECRET, KEY],
    [SECRET, SECRET],
    [undefined, undefined]
  ] as const) {
    t.notOk(isSameCredential(one, other))
  }
})

t.test('what answers and audit events say about a key is its id and its algorithm', async t => {
  t.same(describeCredential(KEY), { kind: 'key', keyId: 'k', alg: 'PS256' })
  t.same(describeCredential(SUBJECT), SUBJECT)
  t.same(describeCredential(SECRET), SECRET)
})
