import { randomUUID, sign } from 'node:crypto'
import type { SigningKey } from '../../signing-keys/signing-key.ts'

/** The claims of an access token. Instants are milliseconds since the epoch. */
export interface Grant {
  issuer: string
  audience: string
  clientId: string
  siteId: string
  /** Space-separated; undefined when no scope was granted. */
  scope: string | undefined
  /** Thumbprint of the key that the token is bound to; undefined for a bearer token. */
  jkt: string | undefined
  issuedAt: number
  ttlSeconds: number
  /** The token ends with the registration at the latest. */
  expiresAt: number
}

/**
 * Issues a JWT access token (RFC 9068), bound to the key of a DPoP proof if there was one (RFC 9449 §6.1).
 *
 * It is signed by node:crypto in place. jose signs through WebCrypto, which costs twice the CPU and shares its threads with
 * Argon2. The tests verify tokens with jose.
 */
export function issueAccessToken(key: SigningKey, grant: Grant): { accessToken: string; expiresInSeconds: number } {
  const iat = Math.floor(grant.issuedAt / 1_000)
  const exp = Math.min(iat + grant.ttlSeconds, Math.floor(grant.expiresAt / 1_000))
  const claims = {
    iss: grant.issuer,
    sub: grant.clientId,
    client_id: grant.clientId,
    aud: grant.audience,
    exp,
    iat,
    jti: randomUUID(),
    site: grant.siteId,
    ...(grant.scope !== undefined && { scope: grant.scope }),
    ...(grant.jkt !== undefined && { cnf: { jkt: grant.jkt } })
  }
  const input = `${key.header}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}`
  // The registration may have expired by a clock that is ahead of that of this instance.
  const expiresInSeconds = Math.max(0, exp - iat)
  return { accessToken: `${input}.${signatureOf(key, input)}`, expiresInSeconds }
}

/** Signs by RFC 7518 §3.3 (RS256), §3.4 (ES256: r and s, not DER), or RFC 8037 §3.1 (EdDSA). */
function signatureOf({ algorithm, privateKey }: SigningKey, input: string): string {
  const digest = algorithm === 'EdDSA' ? null : 'sha256'
  return sign(digest, Buffer.from(input), { key: privateKey, dsaEncoding: 'ieee-p1363' }).toString('base64url')
}
