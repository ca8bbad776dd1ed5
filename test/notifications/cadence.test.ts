import fc from 'fast-check'
import t from 'tap'
import { rangesToSweep, stepWindows } from '../../src/notifications/cadence.ts'
import { DAY_MS } from '../fixtures/app/registration.ts'
import { dueStep, stepInstant } from './due-step.ts'

const STEPS = [30, 7, 0]
const NOW = Date.parse('2026-11-23T09:00:00.000Z')

t.test('a step comes due at its instant and not before (spec 30)', async t => {
  const expiresAt = NOW + 100 * DAY_MS
  const at = (now: number) => dueStep(STEPS, { expiresAt, armedAt: NOW }, now)
  t.equal(at(expiresAt - 30 * DAY_MS - 1), undefined)
  t.equal(at(expiresAt - 30 * DAY_MS), 30)
  t.equal(at(expiresAt - 7 * DAY_MS - 1), 30)
  t.equal(at(expiresAt - 7 * DAY_MS), 7)
  t.equal(at(expiresAt - 1), 7)
  t.equal(at(expiresAt), 0)
  t.equal(at(expiresAt + 1_000 * DAY_MS), 0, 'only the latest step, however late')
})

t.test('a step that was past when the expiry was set does not fire (spec 31)', async t => {
  const expiresAt = NOW + 20 * DAY_MS
  t.equal(dueStep(STEPS, { expiresAt, armedAt: NOW }, NOW + DAY_MS), undefined)
  t.equal(dueStep(STEPS, { expiresAt, armedAt: NOW }, expiresAt - 7 * DAY_MS), 7)
  const exactly = { expiresAt: NOW + 30 * DAY_MS, armedAt: NOW }
  t.equal(dueStep(STEPS, exactly, NOW), undefined, 'nor a step that came due at that very instant')
})

t.test('the windows of the sweep name the step that is due, for any cadence, expiry and instant', async () => {
  const days = fc.uniqueArray(fc.integer({ min: 0, max: 365 }), { minLength: 1, maxLength: 10 })
  fc.assert(
    fc.property(days, fc.integer({ min: -400, max: 400 }), fc.integer({ min: -2, max: 2 }), (unsorted, inDays, ms) => {
      const steps = unsorted.toSorted((one, other) => other - one)
      const expiresAt = NOW + inDays * DAY_MS + ms
      const found = stepWindows(steps, NOW).filter(({ after, upTo }) => expiresAt > after && expiresAt <= upTo)
      const due = dueStep(steps, { expiresAt, armedAt: Number.NEGATIVE_INFINITY }, NOW)
      return found.length <= 1 && found[0]?.step === due
    })
  )
})

t.test(
  'every expiry that has come to a step since a sweep lies in a range of the next sweep, for any cadence',
  async () => {
    const days = fc.uniqueArray(fc.integer({ min: 0, max: 365 }), { minLength: 1, maxLength: 10 })
    const since = fc.integer({ min: 0, max: 100 * DAY_MS })
    fc.assert(
      fc.property(days, fc.integer({ min: -100 * DAY_MS, max: 400 * DAY_MS }), since, (unsorted, inMs, agoMs) => {
        const steps = unsorted.toSorted((one, other) => other - one)
        const expiresAt = NOW + inMs
        const due = dueStep(steps, { expiresAt, armedAt: Number.NEGATIVE_INFINITY }, NOW)
        const isNew = due !== undefined && stepInstant(due, expiresAt) > NOW - agoMs
        const isIn = (ranges: { after: number; upTo: number }[]) =>
          ranges.some(({ after, upTo }) => expiresAt > after && expiresAt <= upTo)
        return (
          (!isNew || isIn(rangesToSweep(steps, NOW, NOW - agoMs))) &&
          (due === undefined || isIn(rangesToSweep(steps, NOW, undefined)))
        )
      })
    )
  }
)

t.test('a step is a multiple of 24 hours before the expiry, also across a change to summer time', async t => {
  const expiresAt = Date.parse('2027-03-29T12:00:00.000Z')
  t.equal(stepInstant(7, expiresAt), Date.parse('2027-03-22T12:00:00.000Z'))
})
