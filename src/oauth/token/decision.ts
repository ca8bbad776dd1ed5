import { waitAtLeast } from '../../concurrency/timeout.ts'
import type { ClientRow } from '../../registrations/clients/repository.ts'
import { SECOND_MS } from '../../time.ts'
import type { Attempt, ClientAuthenticationOptions } from '../client-authentication/attempt.ts'
import { requireAuthenticated } from '../client-authentication/authenticate-now.ts'
import type { MatchedClient } from '../client-authentication/credential-proof.ts'
import { lookUpClient } from '../client-authentication/look-up-client.ts'
import { decideBinding, requireBinding } from '../dpop/binding.ts'
import { temporarilyUnavailable } from '../oauth-error.ts'
import type { Grant } from './access-token.ts'
import { decideAudience, requireAudience } from './audience.ts'
import type { TokenRequest } from './request.ts'
import { decideScope, requireScope } from './scope.ts'

/** A token request begins no further wait for a cut-off after this time. */
const MAX_WAITING_MS = 3 * SECOND_MS

export interface DecisionOptions extends ClientAuthenticationOptions {
  /** The time of the database as far as it is known without asking; Infinity when it is not. Milliseconds since the epoch. */
  databaseEstimate: () => number
  /** Its URL, by ISSUER: `htu` of DPoP proofs. */
  tokenEndpoint: string
  /** Of tokens for a registration without audiences. */
  audience: string
}

/** The part of a grant that is decided from the request and the row. */
export interface Granted extends Pick<Grant, 'scope' | 'audience' | 'jkt'> {
  /** Instant before the row was read, by timeBeforeRead. */
  readAfter: number
}

/** A token may be issued, as this row says. */
interface Decision {
  authenticated: MatchedClient
  granted: Granted
  /** False for a row of the cache, which stands in while the database is unavailable. */
  isFresh: boolean
  /** Instant of the decision, milliseconds since the epoch. */
  at: number
}

/**
 * Decides by a row that was read after its cut-off had come. A token that is issued before would be dead, or dated in the
 * future. What happened during a wait counts: the row is read again, and everything is decided again.
 *
 * @throws OAuthError; 503 when the cut-off moves on for seconds
 */
export async function decideAfterCutOff(
  options: DecisionOptions,
  request: TokenRequest,
  attempt: Attempt
): Promise<Decision> {
  const lastWait = performance.now() + MAX_WAITING_MS
  let awaited = Number.NEGATIVE_INFINITY
  for (;;) {
    const decision = await decideAsRead(options, request, attempt)
    const { tokens_valid_from, tokens_valid_in_ms: waitMs } = decision.authenticated.row
    const cutOff = tokens_valid_from.getTime()
    // A cut-off is far away when the clock of the database was set back. Each is awaited once, for a second at most.
    if (!decision.isFresh || waitMs === 0 || cutOff <= awaited) return decision
    if (performance.now() > lastWait) throw temporarilyUnavailable('cut_off_moves')
    awaited = cutOff
    await waitAtLeast(waitMs)
  }
}

/** Looks the client up, authenticates it, and decides what it is granted. */
async function decideAsRead(options: DecisionOptions, request: TokenRequest, attempt: Attempt): Promise<Decision> {
  const readAfter = timeBeforeRead(options, options.now())
  const found = await lookUpClient(options, attempt.client, attempt.proof)
  const at = options.now()
  const authenticated = await requireAuthenticated(found, attempt, at)
  const { scope, audience, binding } = decideGrant(options, request, found.row, at)
  const granted = {
    scope: requireScope(scope),
    audience: requireAudience(audience),
    jkt: requireBinding(binding),
    readAfter
  }
  return { authenticated, granted, isFresh: found.isFresh, at }
}

/** Decides what a registration grants to a request, each member by itself. @param at milliseconds since the epoch */
export function decideGrant(options: DecisionOptions, request: TokenRequest, row: ClientRow, at: number) {
  return {
    scope: decideScope(request.scope, row.scopes),
    audience: decideAudience(request.resource, row.audiences, options.audience),
    binding: decideBinding(request.dpopProof, row.dpop_bound, options.tokenEndpoint, at)
  }
}

/**
 * Returns the time by the clock of the database, as far as it is known. Taken before a row is read, it dates the token: a
 * cut-off that the row does not have yet is later, so it stops the token.
 *
 * @param now by the clock of this instance, milliseconds since the epoch
 */
export function timeBeforeRead({ databaseEstimate }: Pick<DecisionOptions, 'databaseEstimate'>, now: number): number {
  return Math.min(now, databaseEstimate())
}
