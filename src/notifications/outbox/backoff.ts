/** A delivery is dead after this many tries, until an administrator retries it. */
export const MAX_ATTEMPTS = 10

const FIRST_DELAY_MS = 10_000
const GROWTH = 4
/** With MAX_ATTEMPTS and VARIATION the tries span 29 to 39 hours, so a receiver may be down for a day. */
const LONGEST_DELAY_MS = 12 * 3_600_000
/** Share of each delay that varies at random, so that deliveries that failed together do not come back together. */
const VARIATION = 0.25

/**
 * Returns how long to wait after a failed try, milliseconds. Each delay is four times as long as the one before, up to
 * twelve hours.
 *
 * @param attempt number of the try that failed, from 1
 * @param random from 0 to 1
 */
export function retryDelayMs(attempt: number, random: number): number {
  const longest = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * GROWTH ** (attempt - 1))
  return Math.round(longest * (1 - VARIATION * random))
}
