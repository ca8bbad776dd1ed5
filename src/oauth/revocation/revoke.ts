import type { AuditContext } from '../../admin-api/audit-context.ts'
import { DatabaseUnavailable } from '../../database/errors.ts'
import type { Tables } from '../../database/site-scoped-pool.ts'
import type { RegistrationOptions } from '../../registrations/service.ts'
import { revokeToken } from '../../registrations/token-revocation/service.ts'
import { SECOND_MS } from '../../time.ts'
import { beginAttempt, type ClientAuthenticationOptions } from '../client-authentication/attempt.ts'
import { authenticateNow } from '../client-authentication/authenticate-now.ts'
import type { IssuedTokenRequest } from '../issued-tokens/request.ts'
import type { VerifiedTokens } from '../issued-tokens/verified-tokens.ts'
import { temporarilyUnavailable } from '../oauth-error.ts'

export interface RevocationOptions extends ClientAuthenticationOptions {
  verifiedTokens: VerifiedTokens
  registrations: Pick<RegistrationOptions, 'now' | 'onChanged'>
  tables: Pick<Tables, 'ofSite'>
}

/**
 * Revokes an access token of the client itself (RFC 7009). It is committed when this resolves.
 *
 * A token of another client, and a text that is no token, are left alone: the client learns nothing about them.
 *
 * @returns whether it was a token of the client
 * @throws OAuthError `invalid_client`, 401; 429; 503 while the database is unavailable
 */
export async function revoke(
  options: RevocationOptions,
  { client, token }: IssuedTokenRequest,
  context: AuditContext
): Promise<boolean> {
  const { registrations, tables, verifiedTokens } = options
  const { row } = await authenticateNow(options, await beginAttempt(options, client, context.source))
  try {
    const issued = await verifiedTokens.find(token, { clientId: row.client_id })
    if (issued === undefined) return false
    const { clientId, siteId, jti, iat, exp } = issued
    const times = { issuedAt: iat * SECOND_MS, endsAt: exp * SECOND_MS }
    await revokeToken({ ...registrations, db: tables.ofSite(siteId) }, { clientId, siteId, jti, ...times }, context)
    return true
  } catch (error) {
    throw error instanceof DatabaseUnavailable ? temporarilyUnavailable('database_unavailable') : error
  }
}
