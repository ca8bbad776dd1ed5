/** Rules of registrations that nobody uses. Instants are milliseconds since the epoch. */

import { DAY_MS } from '../../time.ts'
import type { Registration } from '../repository.ts'

export interface UnusedPolicy {
  /** Days without an exchange until the notice; 0 for none. */
  noticeDays: number
  /** Days without an exchange until the registration is disabled; 0 for never. */
  disableDays: number
}

/** A time in which grantd, or its database, was away. */
export interface Gap {
  beganAt: number
  endedAt: number
}

/** Returns since when nobody has used the registration. An administrator who enables it begins another quiet period. */
export function quietSince({ last_used_at, registered_at, enabled_at }: Registration): number {
  return Math.max(last_used_at?.getTime() ?? 0, registered_at.getTime(), enabled_at?.getTime() ?? 0)
}

/**
 * Returns what is due for a registration. It is disabled only some time after its notice: as long as the policy has between
 * the two. Times in which grantd was away do not count, because nobody could use anything. A registration that may
 * introspect is left alone: a gateway that only introspects would seem unused, because introspections are not recorded.
 */
export function dueStep(
  registration: Registration,
  { noticeDays, disableDays }: UnusedPolicy,
  gaps: readonly Gap[],
  now: number
): 'notice' | 'disable' | undefined {
  const { enabled, may_idle, may_introspect, expires_at, unused_noticed_at } = registration
  if (!enabled || may_idle || may_introspect || expires_at.getTime() <= now || noticeDays === 0) return undefined
  const since = quietSince(registration)
  const noticedAt = unused_noticed_at?.getTime()
  if (noticedAt === undefined || noticedAt < since) {
    return presentTime(since, gaps, now) >= noticeDays * DAY_MS ? 'notice' : undefined
  }
  if (disableDays === 0 || presentTime(since, gaps, now) < disableDays * DAY_MS) return undefined
  return presentTime(noticedAt, gaps, now) >= (disableDays - noticeDays) * DAY_MS ? 'disable' : undefined
}

/** Returns the time since an instant in which grantd was present. */
function presentTime(since: number, gaps: readonly Gap[], now: number): number {
  const away = gaps.map(({ beganAt, endedAt }) => Math.max(0, endedAt - Math.max(beganAt, since)))
  return away.reduce((left, gap) => left - gap, now - since)
}
