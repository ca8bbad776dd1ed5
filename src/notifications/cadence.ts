import { DAY_MS } from '../time.ts'

/**
 * Rules of the expiry cadence. A step is a number of days before expiry, 0 at expiry. Steps are listed in the order in
 * which they come due. Instants are milliseconds since the epoch.
 */

/** Expiries after `after`, up to and including `upTo`. */
export interface ExpiryRange {
  after: number
  upTo: number
}

/** The expiries whose current step is `step`. */
export interface StepWindow extends ExpiryRange {
  step: number
}

/**
 * Returns for each step the expiries that have come to it and not yet to the next one.
 *
 * The sweep's statement joins registrations with these windows, so this function is the rule of which step is due. The
 * statement adds that a step which was past when the expiry was set never fires.
 */
export function stepWindows(steps: readonly number[], now: number): StepWindow[] {
  return steps.map((step, index) => {
    const next = steps[index + 1]
    return { step, after: next === undefined ? 0 : now + next * DAY_MS, upTo: now + step * DAY_MS }
  })
}

/** How far a sweep looks back beyond the previous one, because of late commits and clocks that differ. */
const OVERLAP_MS = DAY_MS

/**
 * Returns where to look for expiries that may have come to a step since an instant: for each step the expiries that
 * had not yet come to it then.
 *
 * @param since undefined to look at everything
 */
export function rangesToSweep(steps: readonly number[], now: number, since: number | undefined): ExpiryRange[] {
  if (since === undefined) return [{ after: 0, upTo: now + Math.max(...steps) * DAY_MS }]
  return steps.map(step => ({ after: since - OVERLAP_MS + step * DAY_MS, upTo: now + step * DAY_MS }))
}
