import { mediaTypeOf } from '../../issuer-keys/signature.ts'
import { SECOND_MS } from '../../time.ts'
import type { ProofFault } from '../client-authentication/credential-proof.ts'
import { hasPlainHeader, isJwtId, isNumericDate, MAX_JWT_ID_LENGTH } from '../client-authentication/jwt-rules.ts'
import type { SignedJwt } from '../client-authentication/signed-jwt.ts'
import type { RefusalReason } from '../oauth-error.ts'
import { isSameTarget } from './target-uri.ts'

/*
 * The checks of a DPoP proof, in their order (RFC 9449 §4.3, RFC 8725 §3):
 *
 *   1 form         binding.ts: one header, one signed JWT
 *   2 header       typ, alg, crit and b64
 *   3 key          proof-key.ts: jwk is a public key that fits alg
 *   4 signature    proof-key.ts
 *   5 target       htm and htu
 *   6 time         iat, and exp and nbf where there are any
 *   7 jti          its form only
 *
 * The client is authenticated by then, so the answer names the check that failed. `ath` belongs to requests with an access
 * token, and `nonce` to servers that send one: neither is read here, like any claim that grantd does not know.
 */

export interface ProofContext {
  /** URL of the token endpoint, by ISSUER. */
  tokenEndpoint: string
  /** Milliseconds since the epoch. */
  now: number
}

/** Values of `alg` that a proof may have. Ed25519 signatures have two names (RFC 9864 §2.2). */
export const PROOF_ALGORITHMS = ['ES256', 'EdDSA', 'Ed25519', 'PS256', 'RS256']

/** Makes check 2. */
export function findHeaderFault(proof: SignedJwt): ProofFault | undefined {
  const { typ, alg } = proof.header
  if (typeof typ !== 'string' || mediaTypeOf(typ) !== 'dpop+jwt') return headerFault('typ must be dpop+jwt.')
  if (!PROOF_ALGORITHMS.some(name => name === alg)) {
    return headerFault(`alg must be one of ${PROOF_ALGORITHMS.join(', ')}.`)
  }
  return hasPlainHeader(proof) ? undefined : headerFault('crit and b64 are not supported.')
}

function headerFault(description: string): ProofFault {
  return { reason: 'dpop_header', description }
}

const CLAIM_CHECKS: readonly [RefusalReason, (proof: SignedJwt, context: ProofContext) => string | undefined][] = [
  ['dpop_target', targetFault],
  ['dpop_time', timeFault],
  ['dpop_jti', idFault]
]

/** Makes checks 5 to 7, for a proof whose signature has proved right. Returns the first that fails. */
export function findClaimFault(proof: SignedJwt, context: ProofContext): ProofFault | undefined {
  for (const [reason, faultOf] of CLAIM_CHECKS) {
    const description = faultOf(proof, context)
    if (description !== undefined) return { reason, description }
  }
  return undefined
}

/** Check 5. Methods are case-sensitive (RFC 9110 §9.1). */
function targetFault({ claims: { htm, htu } }: SignedJwt, { tokenEndpoint }: ProofContext): string | undefined {
  if (htm !== 'POST') return 'htm must be POST.'
  if (typeof htu === 'string' && isSameTarget(htu, tokenEndpoint)) return undefined
  return `htu must be ${tokenEndpoint}.`
}

/** A client makes a proof for each request, so this covers the way and clocks that differ. */
const MAX_AGE_SECONDS = 60
/** How far the clock of a client may be ahead. */
const MAX_AHEAD_SECONDS = 10

/** Check 6. RFC 9449 needs `iat` only. `exp` and `nbf` of a JWT count wherever they are (RFC 7519 §4.1.4, §4.1.5). */
function timeFault({ claims: { iat, exp, nbf } }: SignedJwt, { now }: ProofContext): string | undefined {
  const seconds = now / SECOND_MS
  if (!isNumericDate(iat)) return 'iat is required: the seconds since 1970 at which the proof was made.'
  if (iat < seconds - MAX_AGE_SECONDS) {
    return `iat is more than ${MAX_AGE_SECONDS} seconds ago. Make a proof for each request, and check the clock of the client.`
  }
  if (iat > seconds + MAX_AHEAD_SECONDS) {
    return `iat is more than ${MAX_AHEAD_SECONDS} seconds in the future. Check the clock of the client.`
  }
  if (exp !== undefined && !(isNumericDate(exp) && exp > seconds)) {
    return 'exp may be absent. It must be a number of seconds since 1970, in the future.'
  }
  if (nbf !== undefined && !(isNumericDate(nbf) && nbf <= seconds + MAX_AHEAD_SECONDS)) {
    return 'nbf may be absent. It must be a number of seconds since 1970, in the past.'
  }
  return undefined
}

/** Check 7. grantd remembers no proof, so the claim has a form only. */
function idFault({ claims: { jti } }: SignedJwt): string | undefined {
  return isJwtId(jti) ? undefined : `jti is required: 1 to ${MAX_JWT_ID_LENGTH} characters that are new in each proof.`
}
