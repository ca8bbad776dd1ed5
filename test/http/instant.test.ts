import t from 'tap'
import { parseInstant } from '../../src/http/instant.ts'

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
    '1795424400',
    'tomorrow',
    ''
  ]) {
    t.ok(Number.isNaN(parseInstant(text)), text)
  }
})
