import { isWellFormedSecret } from '../../credentials/secret.ts'
import { isClientId } from '../../registrations/client-id.ts'
import type { ClientRow } from '../../registrations/clients/repository.ts'
import { invalidClient, type OAuthError, type RefusalReason } from '../oauth-error.ts'
import type { MatchedClient } from './match-credential.ts'
import type { PresentedClient } from './presented-client.ts'

/** Makes the error of a failed authentication, and counts the failure. It may be 429 in place of 401. */
export type Refuse = (reason: RefusalReason) => OAuthError

/**
 * Refuses what cannot be an id or a secret, without a look-up. The answer and its time depend on the request only.
 *
 * @throws OAuthError `invalid_client`, 401; 429 after too many failures
 */
export function refuseMalformed({ clientId, credential }: PresentedClient, refuse: Refuse): void {
  if (credential.kind === 'secret' && !isWellFormedSecret(credential.secret)) throw refuse('malformed_secret')
  if (!isClientId(clientId)) throw refuse('malformed_client_id')
}

/**
 * Decides whether a client is authenticated.
 *
 * An unknown client, a wrong or retired credential, a disabled registration and an expired one look the same on the wire
 * and take the same time. Only for the right credential does the answer say that the registration is disabled or expired.
 *
 * @param row that was looked up, a decoy for an unknown client id
 * @param matched the row, if the client has presented one of its credentials
 * @param now milliseconds since the epoch
 * @throws OAuthError `invalid_client`, 401; 429 after too many failures
 * @see RFC 6749 §2.3.1, §5.2
 */
export function requireAuthenticated(
  row: ClientRow,
  matched: MatchedClient | undefined,
  now: number,
  refuse: Refuse
): MatchedClient {
  if (matched === undefined) throw refuse(row.is_registered ? 'wrong_secret' : 'unknown_client')
  if (isRetired(matched, now)) throw refuse('retired_secret')
  if (!row.enabled) throw invalidClient('disabled', 'The registration is disabled.')
  if (row.expires_at.getTime() <= now) throw invalidClient('expired', 'The registration has expired.')
  return matched
}

/** Whether the presented credential is the previous one, and no longer accepted. */
export function isRetired({ row, credential }: MatchedClient, now: number): boolean {
  return credential === 'previous' && row.previous_secret_expires_at.getTime() <= now
}
