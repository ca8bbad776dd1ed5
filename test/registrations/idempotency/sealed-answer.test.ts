import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import {
  deriveRetryKey,
  digestRequest,
  openAnswer,
  sealAnswer
} from '../../../src/registrations/idempotency/sealed-answer.ts'

const pepper = randomBytes(32)
const caller = { issuer: 'https://identity.example.com', actor: 'ada' }
const KEY = '8e03978e-40d5-43dd-bc93-6894a57f9324'
const body = { name: 'billing', expiresAt: '2027-01-01T00:00:00Z', enabled: true, scopes: ['devices:read'] }
const stored = {
  request: digestRequest(['create', body]),
  answer: {
    clientId: 'k3v9x2m7q1w8z5t4r6y0',
    clientSecret: 'grantd_0exampleexampleexampleexampleexampleexample0AbCdEf'
  }
}

t.test('a stored answer opens with the same key of the same caller in the same Site', async t => {
  const sealed = sealAnswer(deriveRetryKey(pepper, 'acme', caller, KEY), stored)
  t.same(openAnswer(deriveRetryKey(pepper, 'acme', { ...caller }, KEY), sealed), stored)
})

t.test('another key, caller, issuer, Site or pepper neither finds nor opens it', async t => {
  const right = deriveRetryKey(pepper, 'acme', caller, KEY)
  const sealed = sealAnswer(right, stored)
  for (const [what, wrong] of [
    ['key', deriveRetryKey(pepper, 'acme', caller, KEY.replace('8', '9'))],
    ['caller', deriveRetryKey(pepper, 'acme', { ...caller, actor: 'grace' }, KEY)],
    ['issuer', deriveRetryKey(pepper, 'acme', { ...caller, issuer: 'https://other.example.com' }, KEY)],
    ['Site', deriveRetryKey(pepper, 'umbrella', caller, KEY)],
    ['pepper', deriveRetryKey(randomBytes(32), 'acme', caller, KEY)],
    [
      'border of Site and issuer',
      deriveRetryKey(pepper, 'acmeh', { ...caller, issuer: 'ttps://identity.example.com' }, KEY)
    ]
  ] as const) {
    t.notSame(wrong.digest, right.digest, what)
    t.throws(() => openAnswer({ ...right, sealingKey: wrong.sealingKey }, sealed), what)
    t.throws(() => openAnswer({ ...right, digest: wrong.digest }, sealed), `digest of another ${what}`)
  }
})

t.test(
  'without the Idempotency-Key nothing opens an answer, not even the whole database with KEY_ENCRYPTION_KEY',
  async t => {
    const right = deriveRetryKey(pepper, 'acme', caller, KEY)
    const sealed = sealAnswer(right, stored)
    for (const guess of [
      right.digest,
      pepper,
      Buffer.alloc(32),
      deriveRetryKey(pepper, 'acme', caller, right.digest.toString('hex')).sealingKey,
      deriveRetryKey(pepper, 'acme', caller, right.digest.toString('latin1')).sealingKey,
      deriveRetryKey(pepper, 'acme', caller, '').sealingKey,
      deriveRetryKey(right.digest, 'acme', caller, '').sealingKey
    ]) {
      t.throws(() => openAnswer({ ...right, sealingKey: guess }, sealed))
    }
  }
)

t.test('the same answer is never encrypted to the same bytes, and a change of any bit is noticed', async t => {
  const key = deriveRetryKey(pepper, 'acme', caller, KEY)
  const sealed = sealAnswer(key, stored)
  t.notSame(sealAnswer(key, stored), sealed)
  fc.assert(
    fc.property(fc.nat(sealed.length * 8 - 1), bit => {
      const changed = Buffer.from(sealed)
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      try {
        openAnswer(key, changed)
        return false
      } catch {
        return true
      }
    })
  )
  for (let length = 0; length < sealed.length; length++) {
    t.throws(() => openAnswer(key, sealed.subarray(0, length)), `cut at ${length}`)
  }
})

t.test('keys of any length and callers of any name are accepted', async t => {
  for (const actor of ['', 'x'.repeat(10_000), '\0\ud800']) {
    for (const key of ['x'.repeat(16), 'x'.repeat(255)]) {
      const { digest, sealingKey } = deriveRetryKey(pepper, 'acme', { ...caller, actor }, key)
      t.equal(digest.length, 32)
      t.equal(sealingKey.length, 32)
    }
  }
})

t.test('requests are the same when all their members are, in any order', async t => {
  const { name, expiresAt, enabled, scopes } = body
  const same = digestRequest(['create', { scopes: [...scopes], enabled, expiresAt, name }])
  t.equal(same, stored.request)
  for (const other of [
    ['rotate', body],
    ['create', 'k3v9x2m7q1w8z5t4r6y0', body],
    ...[
      { name: 'Billing' },
      { expiresAt: '2027-01-01T00:00:00.000Z' },
      { enabled: false },
      { scopes: [] },
      { scopes: ['devices:read', 'x'] },
      { another: null }
    ].map(member => ['create', { ...body, ...member }])
  ]) {
    t.not(digestRequest(other), stored.request, JSON.stringify(other))
  }
})
