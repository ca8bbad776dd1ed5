import { setImmediate as nextTurn } from 'node:timers/promises'
import type { RegistrationTable } from '../../database/schema.ts'

/** A registration as the calendar shows it. */
export type Expiration = Pick<
  RegistrationTable,
  'client_id' | 'name' | 'enabled' | 'registered_at' | 'expires_at' | 'version'
>

export interface Calendar {
  siteId: string
  /** The events, in the order in which the calendar has them. */
  expirations: readonly Expiration[]
  /** Whether the Site has registrations that `expirations` leaves out. */
  isTruncated: boolean
  /** Alarms of each event, in days before expiry. */
  steps: readonly number[]
  /** Milliseconds since the epoch. */
  now: number
}

/** Events that are written without a pause: about a millisecond of work. */
const EVENTS_PER_PIECE = 50

/**
 * Writes the expiries of one Site as a calendar (RFC 5545), piece by piece. It lets other work run between two pieces,
 * so that a Site with many registrations does not hold up the process.
 */
export async function* writeCalendar(calendar: Calendar): AsyncGenerator<string> {
  const { siteId, expirations, isTruncated, steps, now } = calendar
  yield toText([
    'BEGIN:VCALENDAR',
    'VERSION:2.0',
    'PRODID:-//grantd//expirations//EN',
    'CALSCALE:GREGORIAN',
    `X-WR-CALNAME:${escapeText(`App registrations of ${siteId}`)}`,
    ...(isTruncated ? [`X-WR-CALDESC:${escapeText(truncationNote(expirations.length))}`] : []),
    ...(expirations.length === 0 ? placeholderLines(siteId, now) : [])
  ])
  for (let at = 0; at < expirations.length; at += EVENTS_PER_PIECE) {
    await nextTurn()
    yield toText(expirations.slice(at, at + EVENTS_PER_PIECE).flatMap(row => eventLines(row, steps, now)))
  }
  yield toText(['END:VCALENDAR'])
}

function truncationNote(count: number): string {
  return `This calendar shows ${count} App registrations, those that expire next first. The Site has more.`
}

/** A calendar needs at least one component (RFC 5545 §3.6). A free/busy component without times shows nothing. */
function placeholderLines(siteId: string, now: number): string[] {
  return ['BEGIN:VFREEBUSY', `UID:nothing-in-${siteId}@grantd`, `DTSTAMP:${utc(new Date(now))}`, 'END:VFREEBUSY']
}

function eventLines(row: Expiration, steps: readonly number[], now: number): string[] {
  const disabled = row.enabled ? '' : ' The registration is disabled.'
  const description = `Client ID ${row.client_id}.${disabled} After this time its Client secret is refused. Renewing it keeps both.`
  return [
    'BEGIN:VEVENT',
    // A Client ID is never reused, so a renewed registration stays the same event.
    `UID:${row.client_id}@grantd`,
    `DTSTAMP:${utc(new Date(now))}`,
    `CREATED:${utc(row.registered_at)}`,
    `SEQUENCE:${row.version - 1}`,
    `DTSTART:${utc(row.expires_at)}`,
    `SUMMARY:${escapeText(`${row.name} expires`)}`,
    `DESCRIPTION:${escapeText(description)}`,
    'TRANSP:TRANSPARENT',
    ...steps.flatMap(step => [
      'BEGIN:VALARM',
      'ACTION:DISPLAY',
      // Calendars show the event's summary with an alarm. A short text here bounds the size of an event.
      'DESCRIPTION:An App registration expires',
      step === 0 ? 'TRIGGER:PT0S' : `TRIGGER:-P${step}D`,
      'END:VALARM'
    ]),
    'END:VEVENT'
  ]
}

/** Formats an instant as UTC (RFC 5545 §3.3.5, form 2), without fractions of a second. */
function utc(instant: Date): string {
  return `${instant.toISOString().slice(0, 19).replaceAll(/[-:]/g, '')}Z`
}

/** Escapes a text value (RFC 5545 §3.3.11). */
function escapeText(text: string): string {
  return text.replaceAll(/[\\;,]/g, '\\$&').replaceAll(/\r\n|\r|\n/g, '\\n')
}

function toText(lines: readonly string[]): string {
  return lines.map(line => `${foldLine(line)}\r\n`).join('')
}

/** The longest line, in octets without its end (RFC 5545 §3.1). */
const LINE_OCTETS = 75

/** Folds a line between characters, never within one. It takes time in proportion to the line's length. */
export function foldLine(line: string): string {
  if (Buffer.byteLength(line) <= LINE_OCTETS) return line
  const bytes = Buffer.from(line)
  const parts: string[] = []
  for (let start = 0; start < bytes.length; ) {
    // A continuation line begins with a space, which counts.
    const room = parts.length === 0 ? LINE_OCTETS : LINE_OCTETS - 1
    const end = characterStart(bytes, Math.min(start + room, bytes.length))
    parts.push(bytes.toString('utf8', start, end))
    start = end
  }
  return parts.join('\r\n ')
}

/** Returns the start of the character that the octet at this index belongs to. */
function characterStart(bytes: Buffer, index: number): number {
  let start = index
  while (start < bytes.length && ((bytes[start] ?? 0) & 0b1100_0000) === 0b1000_0000) start--
  return start
}
