import type { Expiration } from './alerts/repository.ts'

/** A Site's expiries as a calendar (RFC 5545). Pure. */

/**
 * @param steps days before expiry to be reminded at
 * @param now milliseconds since the epoch
 */
export function writeCalendar(
  siteId: string,
  expirations: readonly Expiration[],
  steps: readonly number[],
  now: number
): string {
  const lines = [
    'BEGIN:VCALENDAR',
    'VERSION:2.0',
    'PRODID:-//grantd//expirations//EN',
    'CALSCALE:GREGORIAN',
    `X-WR-CALNAME:${escapeText(`App registrations of ${siteId}`)}`,
    ...(expirations.length === 0
      ? nothingLines(siteId, now)
      : expirations.flatMap(expiration => eventLines(expiration, steps, now))),
    'END:VCALENDAR'
  ]
  return lines.map(line => `${foldLine(line)}\r\n`).join('')
}

/** A calendar has a component at least (RFC 5545 §3.6): this one tells of no time, and calendars show nothing of it. */
function nothingLines(siteId: string, now: number): string[] {
  return ['BEGIN:VFREEBUSY', `UID:nothing-in-${siteId}@grantd`, `DTSTAMP:${utc(new Date(now))}`, 'END:VFREEBUSY']
}

function eventLines(row: Expiration, steps: readonly number[], now: number): string[] {
  const summary = escapeText(`${row.name} expires`)
  const description = escapeText(
    `Client ID ${row.client_id}${row.enabled ? '' : ', disabled'}. From then on its Client secret is refused; renewing it keeps both.`
  )
  return [
    'BEGIN:VEVENT',
    // The client id is never given out again: whatever is renewed stays the same event.
    `UID:${row.client_id}@grantd`,
    `DTSTAMP:${utc(new Date(now))}`,
    `CREATED:${utc(row.registered_at)}`,
    `SEQUENCE:${row.version - 1}`,
    `DTSTART:${utc(row.expires_at)}`,
    `SUMMARY:${summary}`,
    `DESCRIPTION:${description}`,
    'TRANSP:TRANSPARENT',
    ...steps.flatMap(step => [
      'BEGIN:VALARM',
      'ACTION:DISPLAY',
      `DESCRIPTION:${summary}`,
      step === 0 ? 'TRIGGER:PT0S' : `TRIGGER:-P${step}D`,
      'END:VALARM'
    ]),
    'END:VEVENT'
  ]
}

/** RFC 5545 §3.3.5, form 2. Fractions of a second are cut. */
function utc(instant: Date): string {
  return `${instant.toISOString().slice(0, 19).replaceAll(/[-:]/g, '')}Z`
}

/** RFC 5545 §3.3.11. */
function escapeText(text: string): string {
  return text.replaceAll(/[\\;,]/g, '\\$&').replaceAll(/\r\n|\r|\n/g, '\\n')
}

/** RFC 5545 §3.1: octets of a line, without its end. */
const LINE_OCTETS = 75

/** Folds a line between characters, not within one. */
function foldLine(line: string): string {
  let folded = ''
  let octets = 0
  for (const character of line) {
    const length = Buffer.byteLength(character)
    if (octets + length > LINE_OCTETS) {
      folded += '\r\n '
      octets = 1
    }
    folded += character
    octets += length
  }
  return folded
}
