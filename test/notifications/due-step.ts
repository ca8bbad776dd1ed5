import { DAY_MS } from '../fixtures/app/registration.ts'

/** Returns the instant at which a step of this expiry comes due, milliseconds since the epoch. */
export function stepInstant(step: number, expiresAt: number): number {
  return expiresAt - step * DAY_MS
}

/**
 * Returns the step that is due, as spec 30 and 31 say it: the latest step that has come, unless it was already past when
 * the expiry was set. The product decides in SQL; tests hold it against this rule.
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
