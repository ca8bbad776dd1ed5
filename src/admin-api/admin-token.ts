import { errors, type JWTPayload, type JWTVerifyGetKey, jwtVerify } from 'jose'
import { ALGORITHMS, mediaTypeOf, verifyWithEachKey } from '../issuer-keys/signature.ts'
import { type AdministeredSites, findClaim, readAdministeredSites } from './access.ts'

/** An identity provider whose tokens are accepted, and how its keys are found. */
export interface TrustedIssuer {
  issuer: string
  audience: string
  /** @throws IssuerUnavailable when the keys cannot be fetched now */
  keys: JWTVerifyGetKey
}

/** The sender of an admin request. */
export interface Administrator {
  /** `sub` of the token. */
  subject: string
  /** `iss` of the token. */
  issuer: string
  /** Undefined when the token does not have the claim that lists Sites. */
  sites: AdministeredSites | undefined
  /** `kid` of the key that signed the token. */
  keyId: string | undefined
}

/** Why a token is refused. It is for the log: the answer says only that the token is not valid. */
export type TokenRefusal =
  | 'algorithm_not_allowed'
  | 'bad_signature'
  | 'malformed_token'
  | 'no_expiry'
  | 'no_subject'
  | 'not_an_access_token'
  | 'token_expired'
  | 'token_not_yet_valid'
  | 'unknown_key'
  | 'wrong_audience'
  | 'wrong_issuer'

export type Verification = { administrator: Administrator } | { administrator?: never; refusal: TokenRefusal }

/** The clocks of the identity provider and of this machine may differ by this much. */
const CLOCK_TOLERANCE_SECONDS = 60

/** Tokens that providers sign with the same keys and that give no access (RFC 8725 §3.11). */
const OTHER_TYPES = new Set([
  'logout+jwt',
  'dpop+jwt',
  'secevent+jwt',
  'oauth-authz-req+jwt',
  'token-introspection+jwt'
])

/**
 * Verifies an administrator's token (RFC 7519, RFC 8725).
 *
 * @param sitesClaim name of the claim that lists Sites, as `findClaim` takes it
 * @param now milliseconds since the epoch
 * @throws IssuerUnavailable
 */
export async function verifyAdminToken(
  { issuer, audience, keys }: TrustedIssuer,
  sitesClaim: string,
  token: string,
  now: number
): Promise<Verification> {
  try {
    const { payload, protectedHeader } = await verifyWithEachKey(keys, key =>
      jwtVerify(token, key, {
        issuer,
        audience,
        algorithms: ALGORITHMS,
        requiredClaims: ['exp'],
        clockTolerance: CLOCK_TOLERANCE_SECONDS,
        currentDate: new Date(now)
      })
    )
    if (OTHER_TYPES.has(mediaTypeOf(protectedHeader.typ))) return { refusal: 'not_an_access_token' }
    const { sub: subject } = payload
    if (typeof subject !== 'string' || subject === '') return { refusal: 'no_subject' }
    return { administrator: { subject, issuer, sites: sitesOf(payload, sitesClaim), keyId: protectedHeader.kid } }
  } catch (error) {
    if (error instanceof errors.JOSEError || error instanceof TypeError) return { refusal: refusalOf(error) }
    throw error
  }
}

function sitesOf(payload: JWTPayload, sitesClaim: string): AdministeredSites | undefined {
  const claim = findClaim(payload, sitesClaim)
  return claim === undefined ? undefined : readAdministeredSites(claim)
}

function refusalOf(error: Error): TokenRefusal {
  if (error instanceof errors.JWTExpired) return 'token_expired'
  if (error instanceof errors.JWTClaimValidationFailed) return CLAIMS[error.claim] ?? 'malformed_token'
  if (error instanceof errors.JWSSignatureVerificationFailed) return 'bad_signature'
  if (error instanceof errors.JWKSNoMatchingKey) return 'unknown_key'
  if (error instanceof errors.JOSEAlgNotAllowed) return 'algorithm_not_allowed'
  return 'malformed_token'
}

const CLAIMS: Record<string, TokenRefusal> = {
  iss: 'wrong_issuer',
  aud: 'wrong_audience',
  exp: 'no_expiry',
  nbf: 'token_not_yet_valid'
}
