const RFC3339 = /^(\d{4})-(\d{2})-(\d{2})T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})$/i

/**
 * Reads an RFC 3339 date-time; digits beyond milliseconds are cut, which moves an expiry earlier, never later.
 *
 * @returns milliseconds since the epoch, NaN when it isn't one
 */
export function parseInstant(text: string): number {
  const [, year, month, day] = RFC3339.exec(text) ?? []
  if (year === undefined || Number(day) > daysInMonth(Number(year), Number(month))) return Number.NaN
  return Date.parse(text.toUpperCase())
}

function daysInMonth(year: number, month: number): number {
  return new Date(Date.UTC(year, month, 0)).getUTCDate()
}
