import { isClientId } from '../../registrations/client-id.ts'
import { SECOND_MS } from '../../time.ts'
import type { RefusalReason } from '../oauth-error.ts'
import { algorithmOf } from './assertion-algorithms.ts'
import type { ProofFault } from './credential-proof.ts'
import { hasPlainHeader, isJwtId, isNumericDate, isOfType, isOnlyFor, MAX_JWT_ID_LENGTH } from './jwt-rules.ts'
import type { SignedJwt } from './signed-jwt.ts'

/*
 * The checks of an assertion that a client has made itself, in their order (RFC 7521 §4.2, RFC 7523 §3, RFC 8725 §3,
 * RFC 10070):
 *
 *   1 shape and header   SHAPE_CHECKS
 *   2 typ                SHAPE_CHECKS
 *   3 iss and sub        SHAPE_CHECKS
 *   4 key                match-credential.ts, and authenticate.ts for one that is retired
 *   5 signature          assertion-signature.ts
 *   6 aud                CLAIM_CHECKS
 *   7 time               CLAIM_CHECKS
 *   8 jti                CLAIM_CHECKS, then assertion-uses/
 *   9 registration       authenticate.ts, then scope and audience of the token request
 *
 * Up to the signature, an answer reveals nothing. After it, the answer names the check that failed.
 */

type Check<Result, Context extends unknown[] = []> = readonly [
  RefusalReason,
  (jwt: SignedJwt, ...context: Context) => Result
]

const SHAPE_CHECKS: readonly Check<boolean>[] = [
  ['assertion_header', hasUsableHeader],
  ['assertion_typ', isForClientAuthentication],
  ['assertion_issuer', isIssuedByItsSubject]
]

const CLAIM_CHECKS: readonly Check<string | undefined, [ClaimContext]>[] = [
  ['assertion_audience', audienceFault],
  ['assertion_time', timeFault],
  ['assertion_jti', idFault]
]

interface ClaimContext {
  /** The only audience that an assertion may have. */
  issuer: string
  /** Milliseconds since the epoch. */
  now: number
}

/** Makes the checks that need the assertion only. Returns the reason of the first that fails. */
export function findShapeFault(jwt: SignedJwt): RefusalReason | undefined {
  return SHAPE_CHECKS.find(([, passes]) => !passes(jwt))?.[0]
}

/** Makes the checks of the claims, for an assertion whose signature has proved right. Returns the first that fails. */
export function findClaimFault(jwt: SignedJwt, context: ClaimContext): ProofFault | undefined {
  for (const [reason, faultOf] of CLAIM_CHECKS) {
    const description = faultOf(jwt, context)
    if (description !== undefined) return { reason, description }
  }
  return undefined
}

/** Seconds from `iat` for which an assertion is valid at most, whatever its `exp`. Its `jti` is kept no longer. */
const MAX_LIFETIME_SECONDS = 300
/** How far the clock of a client may be ahead. */
const MAX_AHEAD_SECONDS = 10

/** Returns the instant from which an assertion is refused, milliseconds since the epoch. It depends on its claims only. */
export function endOf({ claims: { exp, iat } }: SignedJwt): number {
  const latest = isNumericDate(iat) ? iat + MAX_LIFETIME_SECONDS : Number.POSITIVE_INFINITY
  return Math.min(isNumericDate(exp) ? exp : Number.NEGATIVE_INFINITY, latest) * SECOND_MS
}

/** Check 1. grantd reads neither `kid` nor the members that carry a key or lead to one (RFC 8725 §3.10). */
function hasUsableHeader(jwt: SignedJwt): boolean {
  return algorithmOf(jwt) !== undefined && hasPlainHeader(jwt)
}

/** Check 2. Libraries send no type, or `JWT`. */
function isForClientAuthentication(jwt: SignedJwt): boolean {
  return isOfType(jwt, TYPES)
}

const TYPES: ReadonlySet<string> = new Set(['jwt', 'client-authentication+jwt'])

/** Check 3 (RFC 7523 §3). */
function isIssuedByItsSubject({ claims: { iss, sub } }: SignedJwt): boolean {
  return typeof sub === 'string' && iss === sub && isClientId(sub)
}

/** Check 6 (RFC 10070). */
function audienceFault(jwt: SignedJwt, { issuer }: ClaimContext): string | undefined {
  if (isOnlyFor(jwt, issuer)) return undefined
  return `aud must be the issuer, ${issuer}, and nothing else (RFC 10070).`
}

/** Check 7 (RFC 7519 §4.1.4 to §4.1.6). */
function timeFault(jwt: SignedJwt, { now }: ClaimContext): string | undefined {
  const { exp, iat, nbf } = jwt.claims
  const seconds = now / SECOND_MS
  if (exp === undefined) return 'exp is required: the seconds since 1970 at which the assertion ends.'
  if (!isNumericDate(exp)) return 'exp must be a number of seconds since 1970.'
  for (const [name, value] of Object.entries({ iat, nbf })) {
    if (value === undefined) continue
    if (!isNumericDate(value)) return `${name} must be a number of seconds since 1970.`
    if (value > seconds + MAX_AHEAD_SECONDS) {
      return `${name} is more than ${MAX_AHEAD_SECONDS} seconds in the future. Check the clock of the client.`
    }
  }
  if (iat === undefined && exp > seconds + MAX_LIFETIME_SECONDS) {
    return `iat is required when exp is more than ${MAX_LIFETIME_SECONDS} seconds in the future.`
  }
  if (endOf(jwt) > now) return undefined
  return (
    `The assertion has ended: it is valid until exp, and for at most ${MAX_LIFETIME_SECONDS} seconds after iat. ` +
    'Make a new one for each request, and check the clock of the client.'
  )
}

/** Check 8, the part that needs no memory (RFC 7519 §4.1.7). */
function idFault({ claims: { jti } }: SignedJwt): string | undefined {
  if (isJwtId(jti)) return undefined
  return `jti is required: 1 to ${MAX_JWT_ID_LENGTH} characters that are new in each assertion.`
}
