import { DAY_MS } from '../time.ts'

/**
 * Rules of the expiry cadence. A step is a number of days before expiry, 0 at expiry; steps come with the first
 * to come first. Instants are milliseconds since the epoch.
 */

/** The expiries that are at a step now: after `after`, up to and with `upTo`. */
export interface StepWindow {
  step: number
  after: number
  upTo: number
}

/** When a step of this expiry comes. */
export function stepInstant(step: number, expiresAt: number): number {
  return expiresAt - step * DAY_MS
}

/**
 * The step that this expiry has come to and that is to be told of; undefined when there is none. Earlier ones are
 * folded into it, and what was past when the expiry was set is not told.
 *
 * @param armedAt when `expiresAt` was set
 */
export function dueStep(
  steps: readonly number[],
  { expiresAt, armedAt }: { expiresAt: number; armedAt: number },
  now: number
): number | undefined {
  const latest = steps.findLast(step => stepInstant(step, expiresAt) <= now)
  return latest !== undefined && stepInstant(latest, expiresAt) > armedAt ? latest : undefined
}

/**
 * For each step the expiries that have come to it and not to the next: all that a query needs to know of `now`.
 */
export function stepWindows(steps: readonly number[], now: number): StepWindow[] {
  return steps.map((step, index) => {
    const next = steps[index + 1]
    return { step, after: next === undefined ? 0 : now + next * DAY_MS, upTo: now + step * DAY_MS }
  })
}

/** Expiries after `after`, up to and with `upTo`. */
export type ExpiryRange = Omit<StepWindow, 'step'>

/** How far a sweep looks back behind the one before: clocks of instances, and what was committed late. */
const OVERLAP_MS = DAY_MS

/**
 * Where expiries are that may have come to a step since an instant: for each step those that were just before it then.
 *
 * @param since undefined for ever
 */
export function rangesToSweep(steps: readonly number[], now: number, since: number | undefined): ExpiryRange[] {
  if (since === undefined) return [{ after: 0, upTo: now + Math.max(...steps) * DAY_MS }]
  return steps.map(step => ({ after: since - OVERLAP_MS + step * DAY_MS, upTo: now + step * DAY_MS }))
}
