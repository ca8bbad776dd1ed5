import { isWellFormedSecret } from '../../credentials/secret.ts'
import { isClientId } from '../../registrations/client-id.ts'
import type { ClientRow } from '../../registrations/clients/repository.ts'
import { invalidClient, type OAuthError, type RefusalReason } from '../oauth-error.ts'
import { findShapeFault } from './assertion-checks.ts'
import type { MatchedClient } from './credential-proof.ts'
import type { FailureLimiter } from './failure-limiter.ts'
import type { PresentedClient, PresentedCredential } from './presented-client.ts'

/** Makes the error of a failed authentication, and counts the failure. It may be 429 in place of 401. */
export type Refuse = (reason: RefusalReason) => OAuthError

/** Makes what refuses the requests of one source for one client. */
export function refuserOf(
  { limiter, now }: { limiter: FailureLimiter; now: () => number },
  source: string,
  clientId: string
): Refuse {
  return reason => {
    limiter.count(source, clientId, now(), reason)
    return invalidClient(reason)
  }
}

/**
 * Refuses what cannot be an id or a credential, without a look-up. The answer and its time depend on the request only.
 *
 * @throws OAuthError `invalid_client`, 401; 429 after too many failures
 */
export function refuseMalformed({ clientId, credential }: PresentedClient, refuse: Refuse): void {
  if (credential.kind === 'secret') {
    if (!isWellFormedSecret(credential.secret)) throw refuse('malformed_secret')
  } else if (credential.isOwn) {
    const fault = findShapeFault(credential.assertion)
    if (fault !== undefined) throw refuse(fault)
  }
  if (!isClientId(clientId)) throw refuse('malformed_client_id')
}

/**
 * Decides whether a client has proved who it is.
 *
 * An unknown client and a wrong or retired credential look the same on the wire and take the same time, and so do a
 * disabled registration and an expired one.
 *
 * @param row that was looked up, a decoy for an unknown client id
 * @param matched the row, if the client has presented one of its credentials
 * @param now milliseconds since the epoch
 * @throws OAuthError `invalid_client`, 401; 429 after too many failures
 * @see RFC 6749 §2.3.1, §5.2
 */
export function requireProved(
  { kind }: Pick<PresentedCredential, 'kind'>,
  row: ClientRow,
  matched: MatchedClient | undefined,
  now: number,
  refuse: Refuse
): MatchedClient {
  if (matched === undefined) throw refuse(row.is_registered ? REASONS[kind].wrong : 'unknown_client')
  if (isRetired(matched, now)) throw refuse(REASONS[kind].retired)
  return matched
}

const REASONS = {
  secret: { wrong: 'wrong_secret', retired: 'retired_secret' },
  assertion: { wrong: 'wrong_assertion', retired: 'retired_assertion' }
} as const satisfies Record<PresentedCredential['kind'], Record<'wrong' | 'retired', RefusalReason>>

/**
 * Requires that the registration of a client is in force. Only a client that has proved who it is learns that it is not.
 *
 * @param now milliseconds since the epoch
 * @throws OAuthError `invalid_client`, 401
 */
export function requireInForce({ enabled, expires_at }: ClientRow, now: number): void {
  if (!enabled) throw invalidClient('disabled', 'The registration is disabled.')
  if (expires_at.getTime() <= now) throw invalidClient('expired', 'The registration has expired.')
}

/** Whether the client would be authenticated if the registration is still as the cache has it. */
export function isEligible(matched: MatchedClient, now: number): boolean {
  const { enabled, expires_at } = matched.row
  return enabled && expires_at.getTime() > now && !isRetired(matched, now)
}

/** Whether the presented credential is the previous one, and no longer accepted. */
export function isRetired({ row, credential }: MatchedClient, now: number): boolean {
  return credential === 'previous' && row.previous_secret_expires_at.getTime() <= now
}
