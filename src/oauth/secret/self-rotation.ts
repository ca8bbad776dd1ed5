import type { AuditContext } from '../../admin-api/audit-context.ts'
import { DatabaseUnavailable } from '../../database/errors.ts'
import type { Tables } from '../../database/site-scoped-pool.ts'
import { Problem } from '../../http/problem.ts'
import type { Announcer } from '../../registrations/announcement.ts'
import type { CredentialRequest } from '../../registrations/credential-answer.ts'
import { type RotationRight, rotate } from '../../registrations/rotation/service.ts'
import type { RegistrationOptions } from '../../registrations/service.ts'
import { HOUR_MS } from '../../time.ts'
import { beginAttempt, type ClientAuthenticationOptions } from '../client-authentication/attempt.ts'
import { authenticateNow } from '../client-authentication/authenticate-now.ts'
import type { MatchedClient } from '../client-authentication/credential-proof.ts'
import type { PresentedClient } from '../client-authentication/presented-client.ts'
import { invalidClient, invalidTokenRequest, OAuthError, slowDown, temporarilyUnavailable } from '../oauth-error.ts'

export interface SelfRotationOptions extends ClientAuthenticationOptions {
  registrations: RegistrationOptions
  announcer: Announcer
  tables: Pick<Tables, 'ofSite'>
}

/** A secret must be this old before its client may rotate it. */
const MIN_AGE_MS = HOUR_MS

/**
 * Exchanges the current secret of a client for a new one. The old one is accepted for a day more. It is a rotation, which
 * the registration must allow to its client.
 *
 * @throws OAuthError `invalid_client`, 401; `unauthorized_client`, 403; `slow_down`, 429
 */
export async function rotateOwnSecret(
  options: SelfRotationOptions,
  client: PresentedClient,
  context: AuditContext,
  { idempotencyKey, signal }: CredentialRequest
): Promise<{ clientId: string; clientSecret: string }> {
  const { clientId, credential } = client
  if (credential.kind !== 'secret') {
    throw invalidTokenRequest('This endpoint rotates Client secrets. Authenticate by the current one.', 'not_a_secret')
  }
  const matched = await authenticateNow(options, await beginAttempt(options, client, context.source))
  const { site_id: siteId } = matched.row
  const site = { siteId, db: options.tables.ofSite(siteId) }
  const target = { clientId, ifMatch: undefined, context }
  // The retry of a lost answer comes with the secret that is the previous one by then.
  const retryKey = idempotencyKey === undefined ? undefined : `${idempotencyKey} ${credential.secret}`
  const request = { idempotencyKey: retryKey, signal }
  try {
    const { body } = await rotate(site, options.registrations, target, {}, request, rightOf(options, matched, context))
    options.announcer.deliver()
    return { clientId, clientSecret: body.clientSecret ?? '' }
  } catch (error) {
    throw error instanceof Problem || error instanceof DatabaseUnavailable ? asOAuthError(error) : error
  }
}

function rightOf(
  { announcer }: SelfRotationOptions,
  { row, credential }: MatchedClient,
  { source }: AuditContext
): RotationRight {
  return {
    // The client asks for it, and has the newest secret.
    endsOlder: true,
    check: (registration, at) => {
      if (!registration.self_rotation) {
        throw unauthorizedClient('The registration does not allow its client to rotate.', 'self_rotation_not_allowed')
      }
      if (credential === 'previous' || registration.credential_number !== row.credential_number) {
        throw unauthorizedClient('Only the current Client secret can be rotated.', 'previous_secret')
      }
      const waitMs = registration.secret_created_at.getTime() + MIN_AGE_MS - at
      if (waitMs > 0) throw rotatedRecently(waitMs)
    },
    use: (trx, registration, at) =>
      announcer.record(trx, registration, { type: 'secret_self_rotated', at, details: { source } })
  }
}

function unauthorizedClient(description: string, reason: 'self_rotation_not_allowed' | 'previous_secret'): OAuthError {
  return new OAuthError(403, 'unauthorized_client', description, reason)
}

function rotatedRecently(waitMs: number): OAuthError {
  return slowDown('A Client secret can be rotated once an hour.', 'rotated_recently', waitMs)
}

function asOAuthError(error: Problem | DatabaseUnavailable): OAuthError | Problem {
  if (error instanceof DatabaseUnavailable) return temporarilyUnavailable('database_unavailable')
  if (error.status === 404) return invalidClient('unknown_client')
  if (error.status === 503) return temporarilyUnavailable('hashing_overloaded')
  return invalidTokenRequest(error.message, 'idempotency_key')
}
