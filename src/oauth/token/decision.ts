import { waitAtLeast } from '../../concurrency/timeout.ts'
import { SECOND_MS } from '../../time.ts'
import { type Refuse, requireInForce, requireProved } from '../client-authentication/authenticate.ts'
import type { CredentialProof, MatchedClient } from '../client-authentication/credential-proof.ts'
import { lookUpClient } from '../client-authentication/look-up-client.ts'
import type { LostMacKeyRecovery } from '../client-authentication/lost-mac-key.ts'
import { decideBinding, requireBinding } from '../dpop/binding.ts'
import { invalidClient, temporarilyUnavailable } from '../oauth-error.ts'
import type { Grant } from './access-token.ts'
import { decideAudience, requireAudience } from './audience.ts'
import type { ClientLookup } from './cache/client-lookup.ts'
import type { TokenRequest } from './request.ts'
import { decideScope, requireScope } from './scope.ts'

/** A token request begins no further wait for a cut-off after this time. */
const MAX_WAITING_MS = 3 * SECOND_MS

export interface DecisionOptions {
  lookup: ClientLookup
  recovery: LostMacKeyRecovery
  /** Milliseconds since the epoch. */
  now: () => number
  /** The time of the database as far as it is known without asking; Infinity when it is not. Milliseconds since the epoch. */
  databaseEstimate: () => number
  /** Its URL, by ISSUER: `htu` of DPoP proofs. */
  tokenEndpoint: string
  /** Of tokens for a registration without audiences. */
  audience: string
}

/** One token request on its way. */
export interface Attempt {
  request: TokenRequest
  proof: CredentialProof
  refuse: Refuse
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
export async function decideAfterCutOff(options: DecisionOptions, attempt: Attempt): Promise<Decision> {
  const lastWait = performance.now() + MAX_WAITING_MS
  let awaited = Number.NEGATIVE_INFINITY
  for (;;) {
    const decision = await decideAsRead(options, attempt)
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
async function decideAsRead(options: DecisionOptions, { request, proof, refuse }: Attempt): Promise<Decision> {
  const readAfter = timeBeforeRead(options)
  const { row, isFresh, matched } = await lookUpClient(options, request.client, proof)
  const at = options.now()
  const authenticated = requireProved(request.client.credential, row, matched, at, refuse)
  const fault = proof.findFault?.(at)
  if (fault !== undefined) throw invalidClient(fault.reason, fault.description)
  if (proof.use !== undefined) await proof.use()
  requireInForce(row, at)
  const scope = requireScope(decideScope(request.scope, row.scopes))
  const audience = requireAudience(decideAudience(request.resource, row.audiences, options.audience))
  const jkt = requireBinding(decideBinding(request.dpopProof, row.dpop_bound, options.tokenEndpoint, at))
  return { authenticated, granted: { scope, audience, jkt, readAfter }, isFresh, at }
}

/**
 * Returns the time by the clock of the database, as far as it is known. Taken before a row is read, it dates the token: a
 * cut-off that the row does not have yet is later, so it stops the token.
 */
export function timeBeforeRead({ now, databaseEstimate }: Pick<DecisionOptions, 'now' | 'databaseEstimate'>): number {
  return Math.min(now(), databaseEstimate())
}
