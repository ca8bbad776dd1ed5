import fc from 'fast-check'
import t from 'tap'
import {
  expiresInDays,
  expiryFault,
  expiryRange,
  REGISTRATION_STATES,
  registrationState
} from '../../src/registrations/lifecycle.ts'
import { DAY_MS } from '../../src/time.ts'

const now = Date.parse('2026-11-23T09:00:00.000Z')

t.test('the state and the days left follow from the expiry and the time', async t => {
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

t.test('an expiry that is past or beyond the maximum lifetime is refused with the limit named', async t => {
  t.equal(expiryFault(now + 1, now, 730), undefined)
  t.equal(expiryFault(now + 730 * DAY_MS, now, 730), undefined)
  t.match(expiryFault(now, now, 730), { pointer: '/expiresAt', code: 'in_the_past', detail: /future/ })
  t.match(expiryFault(now + 730 * DAY_MS + 1, now, 730), { code: 'beyond_lifetime_limit', detail: /730 days/ })
  t.match(expiryFault(Number.NaN, now, 730), { code: 'invalid_value', detail: /RFC 3339/ })
})

t.test(
  'a registration is in exactly one state at any time, and the range of that state contains its expiry',
  async () => {
    fc.assert(
      fc.property(fc.integer({ min: -40 * DAY_MS, max: 40 * DAY_MS }), left => {
        const states = REGISTRATION_STATES.filter(state => {
          const { after = Number.NEGATIVE_INFINITY, upTo = Number.POSITIVE_INFINITY } = expiryRange(state, now)
          return now + left > after && now + left <= upTo
        })
        return states.length === 1 && states[0] === registrationState(now + left, now)
      })
    )
  }
)
