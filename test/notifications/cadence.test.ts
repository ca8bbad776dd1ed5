import fc from 'fast-check'
import t from 'tap'
import { dueStep, rangesToSweep, stepInstant, stepWindows } from '../../src/notifications/cadence.ts'
import { DAY_MS } from '../fixtures/app/registration.ts'

const STEPS = [30, 7, 0]
const NOW = Date.parse('2026-11-23T09:00:00.000Z')

t.test('a step comes due at its instant and not before', async t => {
  const expiresAt = NOW + 100 * DAY_MS
  const at = (now: number) => dueStep(STEPS, { expiresAt, armedAt: NOW }, now)
  t.equal(at(expiresAt - 30 * DAY_MS - 1), undefined)
  t.equal(at(expiresAt - 30 * DAY_MS), 30)
  t.equal(at(expiresAt - 7 * DAY_MS - 1), 30)
  t.equal(at(expiresAt - 7 * DAY_MS), 7)
  t.equal(at(expiresAt - 1), 7)
  t.equal(at(expiresAt), 0)
  t.equal(at(expiresAt + 1_000 * DAY_MS), 0, 'however late: the latest step only')
})

t.test('a step that was past when the expiry was set does not fire', async t => {
  const expiresAt = NOW + 20 * DAY_MS
  t.equal(dueStep(STEPS, { expiresAt, armedAt: NOW }, NOW + DAY_MS), undefined)
  t.equal(dueStep(STEPS, { expiresAt, armedAt: NOW }, expiresAt - 7 * DAY_MS), 7)
  const exactly = { expiresAt: NOW + 30 * DAY_MS, armedAt: NOW }
  t.equal(dueStep(STEPS, exactly, NOW), undefined, 'nor one that came that very instant')
})

t.test('the windows of a query say what dueStep says, for any cadence, expiry and instant', async () => {
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

t.test('what has come to a step since a sweep is in a range of the next, for any cadence', async () => {
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
})

t.test('a step is so many times 24 hours before the expiry, whatever clocks on walls do', async t => {
  const expiresAt = Date.parse('2027-03-29T12:00:00.000Z')
  t.equal(stepInstant(7, expiresAt), Date.parse('2027-03-22T12:00:00.000Z'))
})
