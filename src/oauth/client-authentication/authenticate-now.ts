import type { ClientRow } from '../../registrations/clients/repository.ts'
import { invalidClient, temporarilyUnavailable } from '../oauth-error.ts'
import { type Refuse, requireInForce, requireProved } from './authenticate.ts'
import type { CredentialProof, MatchedClient } from './credential-proof.ts'
import { lookUpClient } from './look-up-client.ts'
import type { LostMacKeyRecovery } from './lost-mac-key.ts'
import type { PresentedClient } from './presented-client.ts'

interface AuthenticationOptions {
  lookup: { find: (clientId: string) => Promise<{ row: ClientRow; isFresh: boolean }> }
  recovery: LostMacKeyRecovery
  /** Milliseconds since the epoch. */
  now: () => number
}

/**
 * Authenticates a client as the token endpoint does, by a row that is read now. While the database is unavailable, no
 * cached row stands in.
 *
 * @throws OAuthError `invalid_client`, 401; 429 after too many failures; 503
 */
export async function authenticateNow(
  options: AuthenticationOptions,
  client: PresentedClient,
  proof: CredentialProof,
  refuse: Refuse
): Promise<MatchedClient> {
  const { row, isFresh, matched } = await lookUpClient(options, client, proof)
  if (!isFresh) throw temporarilyUnavailable('database_unavailable')
  const at = options.now()
  const proved = requireProved(client.credential, row, matched, at, refuse)
  const fault = proof.findFault?.(at)
  if (fault !== undefined) throw invalidClient(fault.reason, fault.description)
  if (proof.use !== undefined) await proof.use()
  requireInForce(row, at)
  return proved
}
