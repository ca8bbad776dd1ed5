import fc from 'fast-check'
import t from 'tap'
import { parseInstant } from '../../src/admin-api/instant.ts'

const now = Date.parse('2026-11-23T09:00:00.000Z')

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

t.test('an instant has the same value with any offset', async () => {
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
