import { DatabaseUnavailable } from '../../database/errors.ts'
import type { KeySet } from '../../signing-keys/key-set.ts'
import type { SigningKey } from '../../signing-keys/signing-key.ts'
import {
  authenticateClient,
  isRetired,
  refuseMalformedSecret,
  type SecretVerifier
} from '../client-authentication/client-authentication.ts'
import { temporarilyUnavailable } from '../oauth-error.ts'
import { issueAccessToken } from './access-token.ts'
import type { Credentials, Found } from './cache/credentials.ts'
import type { FailureBrake } from './cache/failure-brake.ts'
import type { KnownClients, Proven } from './cache/known-clients.ts'
import type { Confirmations } from './confirmations.ts'
import type { TokenRequest } from './request.ts'
import { grantScope, scopeFault } from './scope.ts'

export interface ExchangeNeeds {
  known: KnownClients
  confirmations: Confirmations
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
  /** When its registration expires, milliseconds since the epoch. */
  expiresAt: number
  /** Which of the registration's secrets it was for. */
  credentialNumber: number
  /** Its Last used: moved already, to be moved before the answer leaves, or after, since moving it is in trouble. */
  lastUsed: 'moved' | 'due' | 'late'
}

/**
 * Exchanges a client's credentials for an access token (RFC 6749 §4.4).
 *
 * The registration's row is asked every time, so that disabling, expiry, deletion and renewal win at once on every
 * instance. Of a client that has exchanged here before, memory knows all but whether that still holds: one statement
 * confirms it and moves Last used. Whoever isn't confirmed takes the long way.
 *
 * @param source address the request came from
 * @throws OAuthError
 */
export async function exchange(needs: ExchangeNeeds, request: TokenRequest, source: string): Promise<Exchange> {
  const { known, confirmations, now } = needs
  refuseMalformedSecret(needs, request, source)
  const proof = known.proofOf(request.clientSecret)
  const proven = known.find(request.clientId, proof)
  if (proven === undefined || !isGood(proven, request, now())) return exchangeAsRead(needs, request, proof, source)

  const at = now()
  // Signed while the database answers: what isn't confirmed is thrown away.
  const exchange = issue(needs, request, proven, at, confirmations.isStamping ? 'moved' : 'due')
  const { client_id: clientId, version } = proven.credential
  const { credentialNumber } = exchange
  const confirmation = await confirmations.confirm({ clientId, version, credentialNumber, at })
  if (confirmation !== 'confirmed') {
    return exchangeAsRead(needs, request, proof, source, confirmation === 'unavailable' ? 'late' : 'due')
  }
  needs.credentials.noteAnswer()
  known.touch(proven.credential, at)
  return exchange
}

/** Nothing that memory knows speaks against it. */
function isGood(proven: Proven, { scope }: TokenRequest, now: number): boolean {
  const { enabled, expires_at, scopes } = proven.credential
  return enabled && expires_at.getTime() > now && !isRetired(proven, now) && scopeFault(scope, scopes) === undefined
}

/** The long way: read the registration, authenticate, grant. */
async function exchangeAsRead(
  needs: ExchangeNeeds,
  request: TokenRequest,
  proof: Buffer,
  source: string,
  lastUsed: Exchange['lastUsed'] = 'due'
): Promise<Exchange> {
  const found = await findOrShed(needs.credentials, request.clientId)
  const { proven, at } = await authenticateClient(needs, request, proof, found.credential, source)
  const exchange = issue(needs, request, proven, at, lastUsed)
  if (found.isFresh) needs.known.remember(proven, proof, at)
  return exchange
}

function signingKeyOrShed(keySet: KeySet): SigningKey {
  try {
    return keySet.active
  } catch (error) {
    throw error instanceof DatabaseUnavailable ? temporarilyUnavailable('signing_key_unavailable') : error
  }
}

async function findOrShed(credentials: Credentials, clientId: string): Promise<Found> {
  try {
    return await credentials.find(clientId)
  } catch (error) {
    throw error instanceof DatabaseUnavailable ? temporarilyUnavailable('database_unavailable') : error
  }
}

function issue(
  { keySet, issuer, audience, ttlSeconds }: ExchangeNeeds,
  request: TokenRequest,
  proven: Proven,
  at: number,
  lastUsed: Exchange['lastUsed']
): Exchange {
  const { client_id: clientId, site_id: siteId, scopes, expires_at } = proven.credential
  const scope = grantScope(request.scope, scopes)
  const expiresAt = expires_at.getTime()
  const grant = { issuer, audience, clientId, siteId, scope, issuedAt: at, ttlSeconds, expiresAt }
  return {
    clientId,
    siteId,
    scope,
    at,
    expiresAt,
    credentialNumber: credentialNumberOf(proven),
    lastUsed,
    ...issueAccessToken(signingKeyOrShed(keySet), grant)
  }
}

function credentialNumberOf({ credential, secret }: Proven): number {
  return secret === 'current' ? credential.credential_number : credential.credential_number - 1
}
