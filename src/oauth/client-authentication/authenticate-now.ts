import { invalidClient, temporarilyUnavailable } from '../oauth-error.ts'
import type { Attempt, ClientAuthenticationOptions } from './attempt.ts'
import { requireInForce, requireProved } from './authenticate.ts'
import type { MatchedClient } from './credential-proof.ts'
import { type LookedUpClient, lookUpClient } from './look-up-client.ts'

/**
 * Authenticates a client as the token endpoint does, by a row that is read now. While the database is unavailable, no
 * cached row stands in.
 *
 * @throws OAuthError `invalid_client`, 401; 429 after too many failures; 503
 */
export async function authenticateNow(options: ClientAuthenticationOptions, attempt: Attempt): Promise<MatchedClient> {
  const found = await lookUpClient(options, attempt.client, attempt.proof)
  if (!found.isFresh) throw temporarilyUnavailable('database_unavailable')
  return requireAuthenticated(found, attempt, options.now())
}

/**
 * Requires that a client has proved who it is, that its proof is valid now and was not used before, and that its
 * registration is in force.
 *
 * @param now milliseconds since the epoch
 * @throws OAuthError `invalid_client`, 401; 429 after too many failures; 503
 */
export async function requireAuthenticated(
  { row, matched }: LookedUpClient,
  { client, proof, refuse }: Attempt,
  now: number
): Promise<MatchedClient> {
  const proved = requireProved(client.credential, row, matched, now, refuse)
  const fault = proof.findFault?.(now)
  if (fault !== undefined) throw invalidClient(fault.reason, fault.description)
  if (proof.use !== undefined) await proof.use()
  requireInForce(row, now)
  return proved
}
