import fc from 'fast-check'
import t from 'tap'
import { parseInstant } from '../../src/admin-api/instant.ts'
import {
  expiresInDays,
  expiryFault,
  expiryRange,
  foldName,
  nameFault,
  normaliseName,
  previousSecretOf,
  REGISTRATION_STATES,
  registrationState,
  secretUses
} from '../../src/registrations/lifecycle.ts'
import { DAY_MS } from '../../src/time.ts'

const now = Date.parse('2026-11-23T09:00:00.000Z')

t.test('the state is a function of the expiry and now', async t => {
  for (const [left, state, days] of [
    [30 * DAY_MS + 1, 'active', 31],
    [30 * DAY_MS, 'expiring_30d', 30],
    [7 * DAY_MS + 1, 'expiring_30d', 8],
    [7 * DAY_MS, 'expiring_7d', 7],
    [DAY_MS + 1, 'expiring_7d', 2],
    [DAY_MS, 'expiring_7d', 1],
    [1, 'expiring_7d', 1],
    [0, 'expired', 0],
    [-DAY_MS, 'expired', 0]
  ] as const) {
    t.equal(registrationState(now + left, now), state, `${left} ms left`)
    t.equal(expiresInDays(now + left, now), days, `${left} ms left`)
  }
})

t.test('the range of expiries of a state holds exactly the registrations in that state', async t => {
  for (const left of [31 * DAY_MS, 30 * DAY_MS + 1, 30 * DAY_MS, 7 * DAY_MS + 1, 7 * DAY_MS, 1, 0, -1]) {
    const states = REGISTRATION_STATES.filter(state => {
      const { after = Number.NEGATIVE_INFINITY, upTo = Number.POSITIVE_INFINITY } = expiryRange(state, now)
      return now + left > after && now + left <= upTo
    })
    t.same(states, [registrationState(now + left, now)], `${left} ms left`)
  }
})

t.test('an expiry is ahead and within the lifetime limit, which the fault names', async t => {
  t.equal(expiryFault(now + 1, now, 730), undefined)
  t.equal(expiryFault(now + 730 * DAY_MS, now, 730), undefined)
  t.match(expiryFault(now, now, 730), { pointer: '/expiresAt', code: 'in_the_past', detail: /future/ })
  t.match(expiryFault(now + 730 * DAY_MS + 1, now, 730), { code: 'beyond_lifetime_limit', detail: /730 days/ })
  t.match(expiryFault(Number.NaN, now, 730), { code: 'invalid_value', detail: /RFC 3339/ })
})

t.test('a name is trimmed, NFC, 1 to 100 code points, and shows all it has', async t => {
  t.equal(normaliseName('\u00a0  Cafe\u0301 \u3000'), 'Caf\u00e9')
  for (const name of ['x', '=cmd|x', '<img onerror>', '100 % _done_', '日本語', '👍'.repeat(100), '"quoted"']) {
    t.equal(nameFault(name), undefined, name)
  }
  t.match(nameFault('\ufe0f'), { code: 'invalid_character' }, 'a variation selector alone')
  t.match(nameFault(''), { pointer: '/name', code: 'invalid_length' })
  t.match(nameFault('x'.repeat(101)), { code: 'invalid_length' })
  for (const [what, character] of [
    ['NUL', '\0'],
    ['line feed', '\n'],
    ['escape', '\u001b'],
    ['next line', '\u0085'],
    ['right-to-left override', '\u202e'],
    ['left-to-right isolate', '\u2066'],
    ['zero-width space', '\u200b'],
    ['zero-width joiner', '\u200d'],
    ['byte order mark', '\ufeff'],
    ['lone high surrogate', '\ud800'],
    ['lone low surrogate', '\udc00'],
    ['line separator', '\u2028'],
    ['Hangul filler', '\u3164'],
    ['blank Braille', '\u2800'],
    ['a noncharacter', '\ufffe']
  ] as const) {
    for (const name of [`a${character}b`, `${character}a`, `a ${character} `]) {
      t.match(nameFault(normaliseName(name)), { code: 'invalid_character' }, what)
    }
  }
})

t.test('names sort and are found without regard to case and accents', async t => {
  t.equal(foldName('Ébène'), foldName('EBENE'))
  t.equal(foldName('ﬁle'), 'file')
})

t.test('a use that is older than its secret is of an earlier one', async t => {
  const day = (date: number) => new Date(Date.UTC(2026, 0, date))
  const secrets = {
    credential_number: 3,
    secret_created_at: day(20),
    previous_secret_created_at: day(10),
    previous_secret_expires_at: day(30),
    odd_credential_used_at: day(5),
    even_credential_used_at: day(15)
  }
  t.same(secretUses(secrets), { current: null, previous: day(15) })
  t.same(secretUses({ ...secrets, odd_credential_used_at: day(20) }), { current: day(20), previous: day(15) })
  t.same(secretUses({ ...secrets, even_credential_used_at: day(9) }), { current: null, previous: null })
  const first = { ...secrets, credential_number: 1, secret_created_at: day(1), previous_secret_created_at: null }
  t.same(secretUses(first), { current: day(5), previous: null })
  t.equal(previousSecretOf(secrets, day(30).getTime()), undefined)
  t.same(previousSecretOf(secrets, day(30).getTime() - 1), {
    createdAt: day(10),
    expiresAt: day(30),
    lastUsedAt: day(15)
  })
  t.equal(previousSecretOf(first, 0), undefined)
})

t.test(
  'no text makes reading an instant or a name throw, and a name that was read once reads the same again',
  async () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.string({ unit: 'grapheme' }),
      fc.stringMatching(/^[0-9]{1,5}-[0-9]{1,2}-[0-9]{1,2}[Tt ][0-9:.]{1,12}([Zz]|[+-][0-9:]{1,5})$/)
    )
    fc.assert(
      fc.property(text, input => {
        const time = parseInstant(input)
        const name = normaliseName(input)
        const isStable = normaliseName(name) === name && foldName(foldName(name)) === foldName(name)
        return (
          isStable &&
          nameFault(name)?.pointer !== '' &&
          (Number.isNaN(time) || time === Date.parse(input.toUpperCase()))
        )
      }),
      { numRuns: 2_000 }
    )
  }
)

t.test('a registration is in exactly one state at any time, and its range says which', async () => {
  fc.assert(
    fc.property(fc.integer({ min: -40 * DAY_MS, max: 40 * DAY_MS }), left => {
      const states = REGISTRATION_STATES.filter(state => {
        const { after = Number.NEGATIVE_INFINITY, upTo = Number.POSITIVE_INFINITY } = expiryRange(state, now)
        return now + left > after && now + left <= upTo
      })
      return states.length === 1 && states[0] === registrationState(now + left, now)
    })
  )
})
