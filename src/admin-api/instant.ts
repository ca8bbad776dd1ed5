import { NOT_AN_INSTANT } from './schema-faults.ts'
import { invalidRequest } from './validation.ts'

const RFC3339 = /^(\d{4})-(\d{2})-(\d{2})T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})$/i

/**
 * Reads an RFC 3339 date-time. Digits beyond milliseconds are cut off, which moves an expiry earlier, never later.
 *
 * @returns milliseconds since the epoch, NaN when the text is not a date-time
 */
export function parseInstant(text: string): number {
  const [, year, month, day] = RFC3339.exec(text) ?? []
  if (year === undefined || Number(day) > daysInMonth(Number(year), Number(month))) return Number.NaN
  return Date.parse(text.toUpperCase())
}

/**
 * Reads a query parameter that is an instant.
 *
 * @returns milliseconds since the epoch, undefined when the parameter is absent
 * @throws Problem 400
 */
export function parseInstantParameter(parameter: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const instant = parseInstant(text)
  if (!Number.isNaN(instant)) return instant
  throw invalidRequest([{ parameter, code: 'invalid_value', detail: NOT_AN_INSTANT }])
}

function daysInMonth(year: number, month: number): number {
  return new Date(Date.UTC(year, month, 0)).getUTCDate()
}

/** Returns an instant as an answer or an event has it, null for none. */
export function instantOrNull(instant: Date | null | undefined): string | null {
  return instant?.toISOString() ?? null
}
