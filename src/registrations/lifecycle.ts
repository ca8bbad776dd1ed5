/** Rules over the values of a registration and an instant. Instants are milliseconds since the epoch. */

import { NOT_AN_INSTANT } from '../admin-api/validation.ts'
import type { Fault } from '../http/problem.ts'
import { DAY_MS } from '../time.ts'

export const REGISTRATION_STATES = ['active', 'expiring_30d', 'expiring_7d', 'expired'] as const
export type RegistrationState = (typeof REGISTRATION_STATES)[number]

/** From this long before its expiry a registration is in the state of that name. */
export const EXPIRING_MS = { expiring_30d: 30 * DAY_MS, expiring_7d: 7 * DAY_MS } as const

/** `enabled` has no part in it. */
export function registrationState(expiresAt: number, now: number): RegistrationState {
  const left = expiresAt - now
  if (left <= 0) return 'expired'
  if (left <= EXPIRING_MS.expiring_7d) return 'expiring_7d'
  return left <= EXPIRING_MS.expiring_30d ? 'expiring_30d' : 'active'
}

/** The expiry instants that are in this state: after `after`, up to and with `upTo`. */
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

/** Days left, rounded up: 1 on the last day, 0 once expired. */
export function expiresInDays(expiresAt: number, now: number): number {
  return Math.max(0, Math.ceil((expiresAt - now) / DAY_MS))
}

interface Secrets {
  credential_number: number
  secret_created_at: Date
  previous_secret_created_at: Date | null
  previous_secret_expires_at: Date | null
  odd_credential_used_at: Date | null
  even_credential_used_at: Date | null
}

/** When each secret of a registration was last used; null for not since it was made. */
export function secretUses(secrets: Secrets): { current: Date | null; previous: Date | null } {
  const { odd_credential_used_at: odd, even_credential_used_at: even } = secrets
  const [current, previous] = secrets.credential_number % 2 === 1 ? [odd, even] : [even, odd]
  // An older use is of an earlier secret, whose number was odd or even as well.
  const since = (used: Date | null, createdAt: Date | null) =>
    used !== null && createdAt !== null && used >= createdAt ? used : null
  return {
    current: since(current, secrets.secret_created_at),
    previous: since(previous, secrets.previous_secret_created_at)
  }
}

/** The secret before the latest rotation, while it works. */
export function previousSecretOf(
  secrets: Secrets,
  now: number
): { createdAt: Date; expiresAt: Date; lastUsedAt: Date | null } | undefined {
  const { previous_secret_created_at: createdAt, previous_secret_expires_at: expiresAt } = secrets
  if (createdAt === null || expiresAt === null || expiresAt.getTime() <= now) return undefined
  return { createdAt, expiresAt, lastUsedAt: secretUses(secrets).previous }
}

/** Refuses an expiry that isn't ahead or is beyond the lifetime policy. */
export function expiryFault(expiresAt: number, now: number, maxLifetimeDays: number): Fault | undefined {
  const pointer = '/expiresAt'
  if (Number.isNaN(expiresAt)) {
    return { pointer, code: 'invalid_value', detail: NOT_AN_INSTANT }
  }
  if (expiresAt <= now) return { pointer, code: 'in_the_past', detail: 'must be in the future' }
  if (expiresAt > now + maxLifetimeDays * DAY_MS) {
    return { pointer, code: 'beyond_lifetime_limit', detail: `must be at most ${maxLifetimeDays} days from now` }
  }
  return undefined
}

const NAME_MAX_CODE_POINTS = 100

/** Control, format (bidirectional overrides, zero-width), lone surrogates, line separators, and letters that show nothing. */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]|\u034F|[\u115F\u1160\u2800\u3164\uFFA0]|\p{Noncharacter_Code_Point}/u
/** At least one of these: marks alone show nothing. */
const SEEN = /[\p{L}\p{N}\p{P}\p{S}]/u

/** Spaces at the ends; `trim` would take control and zero-width characters along, unseen. */
const OUTER_SPACES = /^\p{Zs}+|\p{Zs}+$/gu

/** The form in which a name is kept: trimmed, NFC. */
export function normaliseName(name: string): string {
  return name.replaceAll(OUTER_SPACES, '').normalize('NFC')
}

/** @param name as `normaliseName` gives it */
export function nameFault(name: string): Fault | undefined {
  const pointer = '/name'
  const length = [...name].length
  if (length < 1 || length > NAME_MAX_CODE_POINTS) {
    return { pointer, code: 'invalid_length', detail: `must have 1 to ${NAME_MAX_CODE_POINTS} characters` }
  }
  if (UNSEEN.test(name) || !SEEN.test(name)) {
    return {
      pointer,
      code: 'invalid_character',
      detail: 'must show something, and have no control, zero-width or text direction characters'
    }
  }
  return undefined
}

/** The key by which names are sorted and searched: without case and accents. */
export function foldName(name: string): string {
  return name.normalize('NFKD').replaceAll(/\p{M}/gu, '').toLowerCase()
}
