/** Rules that hold for every JWT that a client sends: its own assertion, the token of a platform, and a DPoP proof. */

import { mediaTypeOf } from '../../issuer-keys/signature.ts'
import type { SignedJwt } from './signed-jwt.ts'

/** grantd knows no extension that `crit` could name (RFC 7515 §4.1.11), `b64` among them (RFC 7797). */
export function hasPlainHeader({ header }: SignedJwt): boolean {
  return !('crit' in header) && !('b64' in header)
}

/** Whether `typ` is absent or one of these media types: a JWT of another kind proves no client (RFC 8725 §3.11). */
export function isOfType({ header: { typ } }: SignedJwt, types: ReadonlySet<string>): boolean {
  return typ === undefined || (typeof typ === 'string' && types.has(mediaTypeOf(typ)))
}

/** Whether `aud` is this audience and nothing else. With another one beside it, that service could use the JWT here. */
export function isOnlyFor({ claims: { aud } }: SignedJwt, audience: string): boolean {
  const [first, ...others] = Array.isArray(aud) ? aud : [aud]
  return first === audience && others.length === 0
}

export const MAX_JWT_ID_LENGTH = 255

/** Whether a claim can be a `jti` (RFC 7519 §4.1.7). A lone surrogate has no UTF-8: different ids would have one digest. */
export function isJwtId(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && value.isWellFormed() && [...value].length <= MAX_JWT_ID_LENGTH
}

/** Whether a claim is a number of seconds since 1970 (RFC 7519 §2). */
export function isNumericDate(value: unknown): value is number {
  return Number.isFinite(value)
}
