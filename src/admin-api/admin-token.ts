import { errors, type JWTVerifyGetKey, jwtVerify } from 'jose'
import { type AdministeredSites, readAdministeredSites } from './access.ts'

/** Whose tokens are taken, and how their keys are found. */
export interface TrustedIssuer {
  issuer: string
  audience: string
  /** @throws IssuerUnavailable when the keys can't be had now */
  keys: JWTVerifyGetKey
}

/** Who sent an admin request. */
export interface Administrator {
  /** `sub` of the token, or its client. */
  subject: string
  /** `iss` of the token. */
  issuer: string
  sites: AdministeredSites
  /** `kid` of the key that signed the token. */
  keyId: string | undefined
}

/** The keys of the identity provider can't be had now: whether a token is good is unknown. */
export class IssuerUnavailable extends Error {
  constructor(cause: unknown) {
    super('the keys of the identity provider are not available', { cause })
    this.name = 'IssuerUnavailable'
  }
}

/** Asymmetric only: with a shared secret, whoever verifies could also sign (RFC 8725 §3.1). */
const ALGORITHMS = [
  ...['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
  ...['ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519']
]

/** Clocks of an identity provider and of ours differ by so much at most. */
const CLOCK_TOLERANCE_SECONDS = 5

/**
 * Verifies an administrator's token (RFC 7519, RFC 8725).
 *
 * @param now milliseconds since the epoch
 * @returns undefined for a token that isn't good, whatever is wrong with it
 * @throws IssuerUnavailable
 */
export async function verifyAdminToken(
  { issuer, audience, keys }: TrustedIssuer,
  sitesClaim: string,
  token: string,
  now: number
): Promise<Administrator | undefined> {
  try {
    const { payload, protectedHeader } = await jwtVerify(token, keys, {
      issuer,
      audience,
      algorithms: ALGORITHMS,
      requiredClaims: ['exp'],
      clockTolerance: CLOCK_TOLERANCE_SECONDS,
      currentDate: new Date(now)
    })
    const subject = payload.sub ?? payload['client_id']
    return {
      subject: typeof subject === 'string' ? subject : 'unknown',
      issuer,
      sites: readAdministeredSites(payload[sitesClaim]),
      keyId: protectedHeader.kid
    }
  } catch (error) {
    if (error instanceof errors.JOSEError || error instanceof TypeError) return undefined
    throw error
  }
}
