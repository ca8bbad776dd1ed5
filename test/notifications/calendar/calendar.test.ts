import fc from 'fast-check'
import t from 'tap'
import { type Expiration, foldLine, writeCalendar } from '../../../src/notifications/calendar/calendar.ts'
import { DAY_MS } from '../../fixtures/app/registration.ts'

const NOW = Date.parse('2026-11-23T09:00:00.000Z')
/** The longest name in bytes that a registration can have. */
const LONGEST_NAME = '😀'.repeat(100)
const MOST_STEPS = [365, 300, 200, 100, 60, 30, 14, 7, 1, 0]

const expirations = (count: number, name = 'billing export'): Expiration[] =>
  Array.from({ length: count }, (_, index) => ({
    client_id: String(index).padStart(20, '0'),
    name,
    enabled: false,
    registered_at: new Date(NOW),
    expires_at: new Date(NOW + index * DAY_MS),
    version: 1
  }))

async function write(count: number, name?: string): Promise<{ text: string; pieces: number; turns: number }> {
  let turns = 0
  let isWriting = true
  const countTurns = (): void => {
    turns++
    if (isWriting) setImmediate(countTurns)
  }
  setImmediate(countTurns)
  const pieces: string[] = []
  const calendar = {
    siteId: 'acme',
    expirations: expirations(count, name),
    isTruncated: false,
    steps: MOST_STEPS,
    now: NOW
  }
  for await (const piece of writeCalendar(calendar)) pieces.push(piece)
  isWriting = false
  return { text: pieces.join(''), pieces: pieces.length, turns }
}

/** Folds as RFC 5545 §3.1 says it, one character at a time. */
function foldByCharacter(line: string): string {
  let folded = ''
  let octets = 0
  for (const character of line) {
    const length = Buffer.byteLength(character)
    if (octets + length > 75) {
      folded += '\r\n '
      octets = 1
    }
    folded += character
    octets += length
  }
  return folded
}

t.test('a line is folded at 75 octets between characters, whatever characters it has (RFC 5545 §3.1)', async () => {
  const character = fc.constantFrom('a', 'ü', '✓', '😀', '\u0301', '\\,')
  fc.assert(
    fc.property(fc.array(character, { maxLength: 400 }), characters => {
      const line = characters.join('')
      return foldLine(line) === foldByCharacter(line)
    })
  )
})

t.test('a calendar of 1,000 events with the longest names and the most alarms has less than 2 MiB', async t => {
  const { text } = await write(1_000, LONGEST_NAME)
  t.equal(text.split('BEGIN:VEVENT').length - 1, 1_000)
  t.ok(Buffer.byteLength(text) < 2 * 1_048_576, `${Buffer.byteLength(text)} bytes`)
})

t.test('other work runs after every 50 events, so that a large calendar does not hold up the process', async t => {
  const { pieces, turns } = await write(1_000, LONGEST_NAME)
  t.ok(turns >= 1_000 / 50, `${turns} turns of the event loop while ${pieces} pieces were written`)
})
