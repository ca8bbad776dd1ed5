import { DatabaseUnavailable } from '../database/errors.ts'
import type { KeySet } from '../signing-keys/key-set.ts'
import { issueAccessToken } from './access-token.ts'
import { authenticateClient, refuseMalformedSecret, type SecretVerifier } from './client-authentication.ts'
import type { Credentials, Found } from './credentials.ts'
import type { FailureBrake } from './failure-brake.ts'
import { temporarilyUnavailable } from './oauth-error.ts'
import { grantScope } from './scope.ts'
import type { TokenRequest } from './token-request.ts'

export interface ExchangeNeeds {
  credentials: Credentials
  keySet: KeySet
  verifier: SecretVerifier
  brake: FailureBrake
  /** Milliseconds since the epoch. */
  now: () => number
  issuer: string
  audience: string
  ttlSeconds: number
}

/** One successful token request. */
export interface Exchange {
  clientId: string
  siteId: string
  scope: string | undefined
  accessToken: string
  expiresInSeconds: number
  /** When, milliseconds since the epoch. */
  at: number
}

/**
 * Exchanges a client's credentials for an access token (RFC 6749 §4.4).
 *
 * The registration is read every time, so that disabling, expiry, deletion and renewal win at once on every instance.
 *
 * @param source address the request came from
 * @throws OAuthError
 */
export async function exchange(needs: ExchangeNeeds, request: TokenRequest, source: string): Promise<Exchange> {
  refuseMalformedSecret(needs, request, source)
  const found = await findOrShed(needs.credentials, request.clientId)
  const { credential, at } = await authenticateClient(needs, request, found.credential, source)
  const scope = grantScope(request.scope, credential.scopes)
  const clientId = credential.client_id
  const siteId = credential.site_id
  const issued = issueAccessToken(needs.keySet.active, {
    issuer: needs.issuer,
    audience: needs.audience,
    clientId,
    siteId,
    scope,
    issuedAt: at,
    ttlSeconds: needs.ttlSeconds,
    expiresAt: credential.expires_at.getTime()
  })
  if (found.isFresh) needs.credentials.remember(credential, at)
  return { clientId, siteId, scope, at, ...issued }
}

async function findOrShed(credentials: Credentials, clientId: string): Promise<Found> {
  try {
    return await credentials.find(clientId)
  } catch (error) {
    throw error instanceof DatabaseUnavailable ? temporarilyUnavailable('database_unavailable') : error
  }
}
