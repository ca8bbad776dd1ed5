import { DatabaseUnavailable } from '../../database/errors.ts'
import type { KeySet } from '../../signing-keys/key-set.ts'
import type { SigningKey } from '../../signing-keys/signing-key.ts'
import { type Attempt, beginAttempt } from '../client-authentication/attempt.ts'
import { isEligible } from '../client-authentication/authenticate.ts'
import type { MatchedClient } from '../client-authentication/credential-proof.ts'
import type { MissingDigests } from '../client-authentication/missing-digests.ts'
import { temporarilyUnavailable } from '../oauth-error.ts'
import { issueAccessToken } from './access-token.ts'
import type { ClientCache } from './cache/client-cache.ts'
import { type DecisionOptions, decideAfterCutOff, decideGrant, type Granted, timeBeforeRead } from './decision.ts'
import type { TokenRequest } from './request.ts'
import type { Revalidator } from './revalidation.ts'

export interface ExchangeOptions extends DecisionOptions {
  cache: ClientCache
  revalidator: Revalidator
  missingDigests: MissingDigests
  keySet: KeySet
  /** Of tokens for a registration without a lifetime of its own. */
  ttlSeconds: number
}

/** One successful token request. */
export interface Exchange {
  clientId: string
  siteId: string
  scope: string | undefined
  accessToken: string
  /** DPoP for a token that is bound to a key of the client. */
  tokenType: 'Bearer' | 'DPoP'
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
 * Exchanges a client's credentials for an access token (RFC 6749 §4.4), which a DPoP proof binds to a key (RFC 9449 §5).
 *
 * The registration's row is checked on every exchange, so that disabling, expiry, deletion and renewal take effect on
 * the next request on every instance. For a client that has exchanged here before, one statement revalidates its cached
 * row. Any other client is looked up.
 *
 * @param source address that the request came from
 * @throws OAuthError
 */
export async function exchange(options: ExchangeOptions, request: TokenRequest, source: string): Promise<Exchange> {
  const { cache, lookup, revalidator, now } = options
  const { clientId } = request.client
  const begun = beginAttempt(options, request.client, source)
  const attempt = begun instanceof Promise ? await begun : begun
  const { proof } = attempt
  // Before anything is recorded: a use is never recorded for a token that cannot be signed.
  const key = signingKeyOrUnavailable(options.keySet)
  const underWay = { request, attempt, key }
  const cached = proof.match(cache.find(clientId))
  const at = now()
  if (cached === undefined || !isEligible(cached, at)) return exchangeAsRead(options, underWay, 'awaited')
  const readAfter = timeBeforeRead(options, at)
  const { scope, audience, binding } = decideGrant(options, request, cached.row, at)
  const isFaulty = 'fault' in scope || 'fault' in audience || 'fault' in binding
  // The registration may allow more by now than the cached row says.
  if (isFaulty || proof.findFault?.(at) !== undefined) return exchangeAsRead(options, underWay, 'awaited')
  // Before the statement that records the exchange: a refused assertion is no exchange.
  if (proof.use !== undefined) await proof.use()
  const { version } = cached.row
  const revalidated = await revalidator.revalidate({
    clientId,
    version,
    credentialNumber: numberOf(cached),
    at,
    count: 1
  })
  if (revalidated !== 'current') {
    if (revalidated === 'stale') cache.forget(cached.row)
    return exchangeAsRead(options, underWay, revalidated === 'unavailable' ? 'deferred' : 'awaited')
  }
  lookup.noteAnswer()
  cache.touch(cached.row, at)
  // Signed after the wait, so that the tokens of one batch are signed one after the other, which costs a third less.
  const granted = { scope: scope.granted, audience: audience.granted, jkt: binding.granted, readAfter }
  return issue(options, key, cached, granted, at, revalidator.recordsUse ? 'done' : 'awaited')
}

/** Looks the client up, authenticates it and issues a token. */
async function exchangeAsRead(
  options: ExchangeOptions,
  { request, attempt, key }: { request: TokenRequest; attempt: Attempt; key: SigningKey },
  lastUsedWrite: Exchange['lastUsedWrite']
): Promise<Exchange> {
  const { cache, lookup, missingDigests } = options
  const { isFresh, authenticated, granted, at } = await decideAfterCutOff(options, request, attempt)
  const exchange = issue(options, key, authenticated, granted, at, lastUsedWrite)
  if (isFresh) {
    cache.keep(authenticated.row, at)
    missingDigests.note(authenticated, request.client.credential)
  } else lookup.noteServedStale()
  return exchange
}

/** @throws OAuthError 503 when no key may sign now */
function signingKeyOrUnavailable(keySet: KeySet): SigningKey {
  try {
    return keySet.active
  } catch (error) {
    throw error instanceof DatabaseUnavailable ? temporarilyUnavailable('signing_key_unavailable') : error
  }
}

function issue(
  options: ExchangeOptions,
  key: SigningKey,
  matched: MatchedClient,
  { scope, audience, jkt, readAfter }: Granted,
  at: number,
  lastUsedWrite: Exchange['lastUsedWrite']
): Exchange {
  const { issuer } = options
  const { client_id: clientId, site_id: siteId, expires_at, tokens_valid_from, token_lifetime_seconds } = matched.row
  const expiresAt = expires_at.getTime()
  // The cut-off has come by the clock of the database, also where that of this instance is behind.
  const issuedAt = Math.max(readAfter, tokens_valid_from.getTime())
  const ttlSeconds = Math.min(options.ttlSeconds, token_lifetime_seconds)
  const grant = { issuer, audience, clientId, siteId, scope, jkt, issuedAt, ttlSeconds, expiresAt }
  const token = issueAccessToken(key, grant)
  const tokenType = jkt === undefined ? 'Bearer' : 'DPoP'
  const credentialNumber = numberOf(matched)
  return { clientId, siteId, scope, at, expiresAt, credentialNumber, lastUsedWrite, tokenType, ...token }
}

function numberOf({ row, credential }: MatchedClient): number {
  return credential === 'current' ? row.credential_number : row.credential_number - 1
}
