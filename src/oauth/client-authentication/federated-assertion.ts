import { compactVerify, errors, type JWTVerifyGetKey } from 'jose'
import type { Credential, FederatedCredential } from '../../credentials/credential.ts'
import { IssuerUnavailable } from '../../issuer-keys/issuer-keys.ts'
import { ALGORITHMS, verifyWithEachKey } from '../../issuer-keys/signature.ts'
import type { ClientRow } from '../../registrations/clients/repository.ts'
import { HOUR_MS, SECOND_MS } from '../../time.ts'
import { temporarilyUnavailable } from '../oauth-error.ts'
import type { Refuse } from './authenticate.ts'
import { type CredentialProof, type MatchedClient, matchedAs, type ProofFault } from './credential-proof.ts'
import { hasPlainHeader, isNumericDate, isOfType, isOnlyFor } from './jwt-rules.ts'
import type { SignedJwt } from './signed-jwt.ts'

export interface FederationOptions {
  trustedIssuers: {
    /** Returns what finds the keys of an issuer; undefined when the service does not trust it. */
    keysOf: (issuer: string) => JWTVerifyGetKey | undefined
  }
  /** The issuer of access tokens, which is the only audience that a token may have. */
  issuer: string
}

/**
 * Proves which workload a token is of, by the keys of the issuer that the token names.
 *
 * It knows neither the client id nor its registration. So the answer and its time are the same for every client, also
 * while the keys of the issuer cannot be fetched. A token that proves no workload costs no look-up.
 *
 * @throws OAuthError `invalid_client`, 401; 429 after too many failures; 503 when it is not known now whether the issuer
 *   has signed the token
 */
export async function proveWorkload(
  jwt: SignedJwt,
  { trustedIssuers, issuer: audience }: FederationOptions,
  refuse: Refuse
): Promise<CredentialProof> {
  const { iss: issuer, sub: subject } = jwt.claims
  if (!hasPlainHeader(jwt)) throw refuse('assertion_header')
  if (typeof issuer !== 'string' || typeof subject !== 'string') throw refuse('assertion_issuer')
  const keys = trustedIssuers.keysOf(issuer)
  if (keys === undefined) throw refuse('untrusted_issuer')
  if (!(await isSignedBy(keys, jwt))) throw refuse('wrong_assertion')
  return new FederatedAssertion({ issuer, subject }, jwt, audience)
}

/**
 * A token by which a platform vouches for a workload. Its signature by the issuer proved right.
 *
 * It may be used again until it ends: platforms keep tokens in files, which workloads read again and again.
 */
class FederatedAssertion implements CredentialProof {
  readonly #workload: Omit<FederatedCredential, 'kind'>
  readonly #jwt: SignedJwt
  readonly #audience: string

  constructor(workload: Omit<FederatedCredential, 'kind'>, jwt: SignedJwt, audience: string) {
    this.#workload = workload
    this.#jwt = jwt
    this.#audience = audience
  }

  match(row: ClientRow): MatchedClient | undefined {
    return matchedAs(row, this.#isOf(row.credential), this.#isOf(row.previous_credential))
  }

  /** Issuer and subject are equal to the byte, or it is another workload. */
  #isOf(credential: Credential): boolean {
    const { issuer, subject } = this.#workload
    return credential.kind === 'federated' && credential.issuer === issuer && credential.subject === subject
  }

  findFault(now: number): ProofFault | undefined {
    return typeFault(this.#jwt) ?? audienceFault(this.#jwt, this.#audience) ?? timeFault(this.#jwt, now)
  }
}

/**
 * Members of the header that carry a key or lead to one are not read (RFC 8725 §3.10).
 *
 * @throws OAuthError 503 when the keys of the issuer cannot be fetched now
 */
async function isSignedBy(keys: JWTVerifyGetKey, { signed, signature }: SignedJwt): Promise<boolean> {
  const token = `${signed.toString('latin1')}.${signature.toString('base64url')}`
  try {
    await verifyWithEachKey(keys, key => compactVerify(token, key, { algorithms: ALGORITHMS }))
    return true
  } catch (error) {
    if (error instanceof IssuerUnavailable) throw temporarilyUnavailable('issuer_unavailable')
    // A TypeError says that the key of the issuer does not fit the algorithm.
    if (error instanceof errors.JOSEError || error instanceof TypeError) return false
    throw error
  }
}

/** Platforms send no type or `JWT`. A JWT-SVID may have `JOSE` (JWT-SVID §2.3). The last one is of RFC 10070. */
const TYPES: ReadonlySet<string> = new Set(['jwt', 'jose', 'client-authentication+jwt'])

function typeFault(jwt: SignedJwt): ProofFault | undefined {
  if (isOfType(jwt, TYPES)) return undefined
  const description =
    'typ must be absent, JWT, JOSE or client-authentication+jwt. Access tokens, DPoP proofs and logout tokens prove no workload.'
  return { reason: 'assertion_typ', description }
}

/** RFC 7523 §3. */
function audienceFault(jwt: SignedJwt, audience: string): ProofFault | undefined {
  if (isOnlyFor(jwt, audience)) return undefined
  return { reason: 'assertion_audience', description: `aud must be the issuer, ${audience}, and nothing else.` }
}

/** A token is accepted for this long after it was issued, whatever its `exp`. */
const MAX_AGE_MS = HOUR_MS
/** How far the clock of an issuer may be ahead. */
const MAX_AHEAD_MS = 10 * SECOND_MS

function timeFault({ claims }: SignedJwt, now: number): ProofFault | undefined {
  const description = describeTimeFault(claims, now)
  return description === undefined ? undefined : { reason: 'assertion_time', description }
}

/** RFC 7519 §4.1.4 to §4.1.6. */
function describeTimeFault({ exp, iat, nbf }: SignedJwt['claims'], now: number): string | undefined {
  if (exp === undefined || iat === undefined) return 'exp and iat are required, in seconds since 1970.'
  if (!isNumericDate(exp)) return 'exp must be a number of seconds since 1970.'
  if (!isNumericDate(iat)) return 'iat must be a number of seconds since 1970.'
  if (nbf !== undefined && !isNumericDate(nbf)) return 'nbf must be a number of seconds since 1970.'
  if (Math.max(iat, nbf ?? iat) * SECOND_MS > now + MAX_AHEAD_MS) {
    return 'The token is not valid yet: iat and nbf may be 10 seconds ahead at most.'
  }
  if (exp * SECOND_MS <= now) return 'The token has expired. Read it again from its platform for each request.'
  if (iat * SECOND_MS + MAX_AGE_MS <= now) {
    return 'The token is older than 3600 seconds. Read it again from its platform for each request.'
  }
  return undefined
}
