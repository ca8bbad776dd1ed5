import type { ClientRow } from '../../registrations/clients/repository.ts'
import type { RefusalReason } from '../oauth-error.ts'

/** A client that has presented one of its credentials. */
export interface MatchedClient {
  row: ClientRow
  /** Which one: during a rotation there are two. */
  credential: 'current' | 'previous'
}

/** Returns which credential of a row was presented. The current one comes first. A decoy is never matched. */
export function matchedAs(row: ClientRow, isCurrent: boolean, isPrevious: boolean): MatchedClient | undefined {
  if (!row.is_registered || !(isCurrent || isPrevious)) return undefined
  return { row, credential: isCurrent ? 'current' : 'previous' }
}

/** Why a credential that has matched is refused, with a description for the developer of its client. */
export interface ProofFault {
  reason: RefusalReason
  description: string
}

/**
 * A presented credential on its way to be accepted. Each kind of credential has one.
 *
 * It is matched with the cached row first, and with the row that was looked up when that does not suffice.
 */
export interface CredentialProof {
  /** Compares it with a row. Undefined when none of the credentials of the row is the presented one. */
  match: (row: ClientRow) => MatchedClient | undefined
  /** Does what is left of the work of a refusal, where the work of `match` depends on the row. */
  pad?: () => void
  /** Makes the checks that follow the proof. @param now milliseconds since the epoch */
  findFault?: (now: number) => ProofFault | undefined
  /**
   * Uses the proof, where it is valid once. Further calls return the same promise.
   *
   * @throws OAuthError 401 when it was used before; 429; 503
   */
  use?: () => Promise<void>
}
