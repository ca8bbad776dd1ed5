import fc from 'fast-check'
import t from 'tap'
import {
  DAY_MS,
  expiresInDays,
  expiryFault,
  expiryRange,
  foldName,
  nameFault,
  normaliseName,
  parseInstant,
  REGISTRATION_STATES,
  registrationState
} from '../../src/registrations/lifecycle.ts'

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

t.test('an instant is RFC 3339 with an offset, and nothing else', async t => {
  t.equal(parseInstant('2026-11-23T10:00:00+01:00'), now)
  t.equal(parseInstant('2026-11-23t09:00:00z'), now)
  t.equal(parseInstant('2026-11-23T09:00:00.123456789Z'), now + 123, 'digits beyond milliseconds are cut')
  t.equal(parseInstant('2028-02-29T00:00:00Z'), Date.UTC(2028, 1, 29))
  for (const text of [
    '2026-11-23T09:00:00',
    '2026-11-23',
    '2026-11-23 09:00:00Z',
    '2027-02-29T00:00:00Z',
    '2026-13-01T00:00:00Z',
    '2026-11-31T00:00:00Z',
    '2026-11-23T25:00:00Z',
    '2026-11-23T09:61:00Z',
    '2026-11-23T09:00:00+25:00',
    '2026-11-23T09:00:00Z (UTC)',
    '+002026-11-23T09:00:00Z',
    '1795424400',
    'tomorrow',
    ''
  ]) {
    t.ok(Number.isNaN(parseInstant(text)), text)
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
  t.equal(normaliseName('  Cafe\u0301 '), 'Caf\u00e9')
  for (const name of ['x', '=cmd|x', '<img onerror>', '100 % _done_', '日本語', '👍'.repeat(100), '"quoted"']) {
    t.equal(nameFault(name), undefined, name)
  }
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
    ['Hangul filler', '\u3164']
  ] as const) {
    t.match(nameFault(`a${character}b`), { code: 'invalid_character' }, what)
  }
})

t.test('names sort and are found without regard to case and accents', async t => {
  t.equal(foldName('Ébène'), foldName('EBENE'))
  t.equal(foldName('ﬁle'), 'file')
})

t.test('an instant is read one way, whatever offset it is written with', async () => {
  const instant = fc
    .date({ min: new Date(0), max: new Date('2200-01-01'), noInvalidDate: true })
    .map(date => date.getTime())
  const offsetMinutes = fc.integer({ min: -14 * 60, max: 14 * 60 })
  fc.assert(
    fc.property(instant, offsetMinutes, (time, minutes) => {
      const two = (number: number) => String(Math.floor(Math.abs(number))).padStart(2, '0')
      const local = new Date(time + minutes * 60_000).toISOString().slice(0, -1)
      const offset = `${minutes < 0 ? '-' : '+'}${two(minutes / 60)}:${two(minutes % 60)}`
      return parseInstant(local + offset) === time && parseInstant(new Date(time).toISOString()) === time
    })
  )
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
