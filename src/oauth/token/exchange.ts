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
import type { TokenRequest } from './request.ts'
import type { Revalidator } from './revalidation.ts'
import { grantScope, scopeFault } from './scope.ts'

export interface ExchangeOptions {
  known: KnownClients
  revalidator: Revalidator
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
  /** Instant of the exchange, milliseconds since the epoch. */
  at: number
  /** Expiry of the registration, milliseconds since the epoch. */
  expiresAt: number
  /** Number of the registration's credential that the client presented. */
  credentialNumber: number
  /**
   * How its use is recorded: done already, awaited before the answer leaves, or deferred until after it because
   * recording is in trouble.
   */
  lastUsedWrite: 'done' | 'awaited' | 'deferred'
}

/**
 * Exchanges a client's credentials for an access token (RFC 6749 §4.4).
 *
 * The registration's row is checked on every exchange, so that disabling, expiry, deletion and renewal take effect on
 * the next request on every instance. For a client that has exchanged here before, one statement revalidates its cached
 * row. Any other client is looked up.
 *
 * @param source address that the request came from
 * @throws OAuthError
 */
export async function exchange(options: ExchangeOptions, request: TokenRequest, source: string): Promise<Exchange> {
  const { known, revalidator, now } = options
  refuseMalformedSecret(options, request, source)
  // Before anything is recorded: a use is never recorded for a token that cannot be signed.
  const key = signingKeyOrUnavailable(options.keySet)
  const proof = known.proofOf(request.client.credential.secret)
  const proven = known.find(request.client.clientId, proof)
  if (proven === undefined || !isEligible(proven, request, now())) {
    return exchangeAsRead(options, key, request, proof, source, 'awaited')
  }
  const at = now()
  const { client_id: clientId, version } = proven.credential
  const credentialNumber = credentialNumberOf(proven)
  const revalidated = await revalidator.revalidate({ clientId, version, credentialNumber, at })
  if (revalidated !== 'current') {
    const lastUsedWrite = revalidated === 'unavailable' ? 'deferred' : 'awaited'
    return exchangeAsRead(options, key, request, proof, source, lastUsedWrite)
  }
  options.credentials.noteAnswer()
  known.touch(proven.credential, at)
  // Signed after the wait, so that the tokens of one batch are signed one after the other, which costs a third less.
  return issue(options, key, request, proven, at, revalidator.recordsUse ? 'done' : 'awaited')
}

/** Whether a token would be issued if the registration is still as the cache has it. */
function isEligible(proven: Proven, { scope }: TokenRequest, now: number): boolean {
  const { enabled, expires_at, scopes } = proven.credential
  return enabled && expires_at.getTime() > now && !isRetired(proven, now) && scopeFault(scope, scopes) === undefined
}

/** Looks the client up, authenticates it and issues a token. */
async function exchangeAsRead(
  options: ExchangeOptions,
  key: SigningKey,
  request: TokenRequest,
  proof: Buffer,
  source: string,
  lastUsedWrite: Exchange['lastUsedWrite']
): Promise<Exchange> {
  const found = await findOrUnavailable(options.credentials, request.client.clientId)
  const { proven, at } = await authenticateClient(options, request, proof, found.credential, source)
  const exchange = issue(options, key, request, proven, at, lastUsedWrite)
  if (found.isFresh) options.known.remember(proven, proof, at)
  return exchange
}

function signingKeyOrUnavailable(keySet: KeySet): SigningKey {
  try {
    return keySet.active
  } catch (error) {
    throw error instanceof DatabaseUnavailable ? temporarilyUnavailable('signing_key_unavailable') : error
  }
}

async function findOrUnavailable(credentials: Credentials, clientId: string): Promise<Found> {
  try {
    return await credentials.find(clientId)
  } catch (error) {
    throw error instanceof DatabaseUnavailable ? temporarilyUnavailable('database_unavailable') : error
  }
}

function issue(
  { issuer, audience, ttlSeconds }: ExchangeOptions,
  key: SigningKey,
  request: TokenRequest,
  proven: Proven,
  at: number,
  lastUsedWrite: Exchange['lastUsedWrite']
): Exchange {
  const { client_id: clientId, site_id: siteId, scopes, expires_at } = proven.credential
  const scope = grantScope(request.scope, scopes)
  const expiresAt = expires_at.getTime()
  const credentialNumber = credentialNumberOf(proven)
  const grant = { issuer, audience, clientId, siteId, scope, issuedAt: at, ttlSeconds, expiresAt }
  const token = issueAccessToken(key, grant)
  return { clientId, siteId, scope, at, expiresAt, credentialNumber, lastUsedWrite, ...token }
}

function credentialNumberOf({ credential, secret }: Proven): number {
  return secret === 'current' ? credential.credential_number : credential.credential_number - 1
}
