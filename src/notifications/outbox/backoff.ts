/** After so many tries a delivery is dead, until an administrator sends it again. */
export const MAX_ATTEMPTS = 10

const FIRST_DELAY_MS = 10_000
const GROWTH = 4
/** With the number of tries: a receiver may be away for a day. */
const LONGEST_DELAY_MS = 6 * 3_600_000

/**
 * How long to wait after this try, milliseconds: four times as long each time, up to six hours, and of that
 * between half and all, so that what failed together does not come back together.
 *
 * @param attempt from 1
 * @param random from 0 to 1
 */
export function retryDelayMs(attempt: number, random: number): number {
  const longest = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * GROWTH ** (attempt - 1))
  return Math.round(longest * (0.5 + random / 2))
}
