/** Rules over the expiry of a registration and an instant. Instants are milliseconds since the epoch. */

import { NOT_AN_INSTANT } from '../admin-api/schema-faults.ts'
import type { Fault } from '../http/problem.ts'
import { DAY_MS } from '../time.ts'

export const REGISTRATION_STATES = ['active', 'expiring_30d', 'expiring_7d', 'expired'] as const
export type RegistrationState = (typeof REGISTRATION_STATES)[number]

/** Why grantd itself disables a registration. */
export const DISABLED_REASONS = ['leaked', 'unused'] as const

/** Returns why grantd has disabled a registration. Null while it is enabled, and when an administrator has disabled it. */
export function disabledReasonOf(row: { enabled: boolean; disabled_reason: string | null }): string | null {
  return row.enabled ? null : row.disabled_reason
}

/** How long before its expiry a registration enters the state of that name. */
export const EXPIRING_MS = { expiring_30d: 30 * DAY_MS, expiring_7d: 7 * DAY_MS } as const

/** Returns the state of a registration. It depends on the expiry only, not on `enabled`. */
export function registrationState(expiresAt: number, now: number): RegistrationState {
  const left = expiresAt - now
  if (left <= 0) return 'expired'
  if (left <= EXPIRING_MS.expiring_7d) return 'expiring_7d'
  return left <= EXPIRING_MS.expiring_30d ? 'expiring_30d' : 'active'
}

/** Returns the expiries that are in this state: later than `after`, and not later than `upTo`. */
export function expiryRange(state: RegistrationState, now: number): { after?: number; upTo?: number } {
  const in7Days = now + EXPIRING_MS.expiring_7d
  const in30Days = now + EXPIRING_MS.expiring_30d
  return {
    expired: { upTo: now },
    expiring_7d: { after: now, upTo: in7Days },
    expiring_30d: { after: in7Days, upTo: in30Days },
    active: { after: in30Days }
  }[state]
}

/** Returns the days left, rounded up: 1 on the last day, 0 once expired. */
export function expiresInDays(expiresAt: number, now: number): number {
  return Math.max(0, Math.ceil((expiresAt - now) / DAY_MS))
}

/** Refuses an expiry that is not in the future, or that exceeds the maximum lifetime. */
export function expiryFault(expiresAt: number, now: number, maxLifetimeDays: number): Fault | undefined {
  const pointer = '/expiresAt'
  if (Number.isNaN(expiresAt)) return { pointer, code: 'invalid_value', detail: NOT_AN_INSTANT }
  if (expiresAt <= now) return { pointer, code: 'in_the_past', detail: 'must be in the future' }
  if (expiresAt > now + maxLifetimeDays * DAY_MS) {
    return { pointer, code: 'beyond_lifetime_limit', detail: `must be at most ${maxLifetimeDays} days from now` }
  }
  return undefined
}
