import { waitAtLeast } from '../../concurrency/timeout.ts'
import type { MacKeys } from '../../credentials/mac-keys.ts'
import { DatabaseUnavailable } from '../../database/errors.ts'
import type { TrustedIssuers } from '../../issuer-keys/trusted-issuers.ts'
import type { KeySet } from '../../signing-keys/key-set.ts'
import type { SigningKey } from '../../signing-keys/signing-key.ts'
import type { AssertionUses } from '../client-authentication/assertion-uses/assertion-uses.ts'
import {
  isEligible,
  type Refuse,
  refuseMalformed,
  refuserOf,
  requireInForce,
  requireProved
} from '../client-authentication/authenticate.ts'
import type { CredentialProof, MatchedClient } from '../client-authentication/credential-proof.ts'
import type { FailureLimiter } from '../client-authentication/failure-limiter.ts'
import { lookUpClient } from '../client-authentication/look-up-client.ts'
import type { LostMacKeyRecovery } from '../client-authentication/lost-mac-key.ts'
import { proofOf } from '../client-authentication/match-credential.ts'
import type { MissingDigests } from '../client-authentication/missing-digests.ts'
import { decideBinding, requireBinding } from '../dpop/binding.ts'
import { invalidClient, temporarilyUnavailable } from '../oauth-error.ts'
import { type Grant, issueAccessToken } from './access-token.ts'
import { decideAudience, requireAudience } from './audience.ts'
import type { ClientCache } from './cache/client-cache.ts'
import type { ClientLookup } from './cache/client-lookup.ts'
import type { TokenRequest } from './request.ts'
import type { Revalidator } from './revalidation.ts'
import { decideScope, requireScope } from './scope.ts'

export interface ExchangeOptions {
  cache: ClientCache
  revalidator: Revalidator
  lookup: ClientLookup
  macKeys: MacKeys
  assertionUses: AssertionUses
  /** The issuers of tokens by which platforms vouch for workloads. */
  trustedIssuers: Pick<TrustedIssuers, 'keysOf'>
  recovery: LostMacKeyRecovery
  missingDigests: MissingDigests
  limiter: FailureLimiter
  keySet: KeySet
  /** Milliseconds since the epoch. */
  now: () => number
  /** The time of the database as far as it is known without asking; Infinity when it is not. Milliseconds since the epoch. */
  databaseEstimate: () => number
  issuer: string
  /** Its URL, by ISSUER: `htu` of DPoP proofs. */
  tokenEndpoint: string
  /** Of tokens for a registration without audiences. */
  audience: string
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
  const refuse = refuserOf(options, source, clientId)
  refuseMalformed(request.client, refuse)
  const prepared = proofOf(options, request.client, refuse)
  const proof = prepared instanceof Promise ? await prepared : prepared
  // Before anything is recorded: a use is never recorded for a token that cannot be signed.
  const key = signingKeyOrUnavailable(options.keySet)
  const attempt = { request, key, proof, refuse }
  const cached = proof.match(cache.find(clientId))
  const at = now()
  if (cached === undefined || !isEligible(cached, at)) return exchangeAsRead(options, attempt, 'awaited')
  const scope = decideScope(request.scope, cached.row.scopes)
  const audience = decideAudience(request.resource, cached.row.audiences, options.audience)
  const binding = decideBinding(request.dpopProof, cached.row.dpop_bound, options.tokenEndpoint, at)
  const isFaulty = 'fault' in scope || 'fault' in audience || 'fault' in binding
  // The registration may allow more by now than the cached row says.
  if (isFaulty || proof.findFault?.(at) !== undefined) return exchangeAsRead(options, attempt, 'awaited')
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
    return exchangeAsRead(options, attempt, revalidated === 'unavailable' ? 'deferred' : 'awaited')
  }
  lookup.noteAnswer()
  cache.touch(cached.row, at)
  // Signed after the wait, so that the tokens of one batch are signed one after the other, which costs a third less.
  const granted = { scope: scope.granted, audience: audience.granted, jkt: binding.granted }
  return issue(options, key, cached, granted, at, revalidator.recordsUse ? 'done' : 'awaited')
}

/** One token request on its way. */
interface Attempt {
  request: TokenRequest
  key: SigningKey
  proof: CredentialProof
  refuse: Refuse
}

/** Looks the client up, authenticates it and issues a token. */
async function exchangeAsRead(
  options: ExchangeOptions,
  attempt: Attempt,
  lastUsedWrite: Exchange['lastUsedWrite']
): Promise<Exchange> {
  const { cache, lookup, now } = options
  const { request, key, proof, refuse } = attempt
  const { credential } = request.client
  const { row, isFresh, matched } = await lookUpClient(options, request.client, proof)
  const at = now()
  const authenticated = requireProved(credential, row, matched, at, refuse)
  const fault = proof.findFault?.(at)
  if (fault !== undefined) throw invalidClient(fault.reason, fault.description)
  if (proof.use !== undefined) await proof.use()
  requireInForce(row, at)
  const scope = requireScope(decideScope(request.scope, row.scopes))
  const audience = requireAudience(decideAudience(request.resource, row.audiences, options.audience))
  const jkt = requireBinding(decideBinding(request.dpopProof, row.dpop_bound, options.tokenEndpoint, at))
  // A token that is issued before the cut-off of its registration would be dead, or dated in the future.
  if (isFresh && row.tokens_valid_in_ms > 0) await waitAtLeast(row.tokens_valid_in_ms)
  const exchange = issue(options, key, authenticated, { scope, audience, jkt }, at, lastUsedWrite)
  if (isFresh) {
    cache.keep(row, at)
    options.missingDigests.note(authenticated, credential)
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

/** The part of a grant that the request decides. */
type Granted = Pick<Grant, 'scope' | 'audience' | 'jkt'>

function issue(
  options: ExchangeOptions,
  key: SigningKey,
  matched: MatchedClient,
  { scope, audience, jkt }: Granted,
  at: number,
  lastUsedWrite: Exchange['lastUsedWrite']
): Exchange {
  const { issuer, databaseEstimate } = options
  const { client_id: clientId, site_id: siteId, expires_at, tokens_valid_from, token_lifetime_seconds } = matched.row
  const expiresAt = expires_at.getTime()
  // By the clock of the database, which dates the cut-off. It has come, also where the clock of this instance is behind.
  const issuedAt = Math.max(Math.min(at, databaseEstimate()), tokens_valid_from.getTime())
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
