import { DatabaseUnavailable } from '../../database/errors.ts'
import type { ClientRow } from '../../registrations/clients/repository.ts'
import { temporarilyUnavailable } from '../oauth-error.ts'
import type { CredentialProof, MatchedClient } from './credential-proof.ts'
import type { LostMacKeyRecovery } from './lost-mac-key.ts'
import type { PresentedClient } from './presented-client.ts'

interface LookUpOptions {
  lookup: { find: (clientId: string) => Promise<{ row: ClientRow; isFresh: boolean }> }
  recovery: LostMacKeyRecovery
}

export interface LookedUpClient {
  row: ClientRow
  /** False for a row of the cache, which stands in while the database is unavailable. */
  isFresh: boolean
  /** Undefined when the client has presented none of its credentials. */
  matched: MatchedClient | undefined
}

/**
 * Looks up a client and compares what it has presented with its row. A secret whose MAC key is lost gets a new MAC first.
 *
 * @throws OAuthError 503 when the database is unavailable and no cached row matches
 */
export async function lookUpClient(
  { lookup, recovery }: LookUpOptions,
  { clientId, credential }: PresentedClient,
  proof: CredentialProof
): Promise<LookedUpClient> {
  try {
    const { row, isFresh } = await lookup.find(clientId)
    const matched = proof.match(row)
    if (matched !== undefined) return { row, isFresh, matched }
    proof.pad?.()
    // A wrong secret must not reveal that the cache has this client.
    if (!isFresh) throw temporarilyUnavailable('database_unavailable')
    if (credential.kind !== 'secret' || !recovery.isUnderWay) return { row, isFresh, matched }
    await recovery.restoreMac(clientId, credential.secret)
    // Read again: the registration may have changed while the hash was verified.
    const again = await lookup.find(clientId)
    return { ...again, matched: proof.match(again.row) }
  } catch (error) {
    throw error instanceof DatabaseUnavailable ? temporarilyUnavailable('database_unavailable') : error
  }
}
