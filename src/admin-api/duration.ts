import { DAY_MS, HOUR_MS } from '../time.ts'
import { invalidRequest } from './validation.ts'

/** A duration of ISO 8601 in days and hours. Months and years have no fixed length, and weeks cannot be combined. */
export const DURATION_PATTERN = '^P([0-9]{1,3}D(T[0-9]{1,4}H)?|T[0-9]{1,4}H)$'
const PARTS = /^P(?:(\d{1,3})D)?(?:T(\d{1,4})H)?$/

/** Says which durations are allowed. @param maxDays longest one, days */
export function durationFault(maxDays: number): string {
  return `must be days and hours from PT1H to P${maxDays}D, for example P7D or P1DT12H`
}

/**
 * Reads a query parameter that is a duration.
 *
 * @param text in the form of DURATION_PATTERN
 * @param maxDays longest duration that is allowed, days
 * @returns milliseconds, undefined when the parameter is absent
 * @throws Problem 400 when the duration is zero or too long
 */
export function parseDurationParameter(
  parameter: string,
  text: string | undefined,
  maxDays: number
): number | undefined {
  if (text === undefined) return undefined
  const [, days = '0', hours = '0'] = PARTS.exec(text) ?? []
  const duration = Number(days) * DAY_MS + Number(hours) * HOUR_MS
  if (duration > 0 && duration <= maxDays * DAY_MS) return duration
  throw invalidRequest([{ parameter, code: 'invalid_value', detail: durationFault(maxDays) }])
}
