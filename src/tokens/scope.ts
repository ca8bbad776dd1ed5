import { OAuthError, type RefusalReason } from './oauth-error.ts'

/** `scope = scope-token *( SP scope-token )` (RFC 6749 §3.3). */
const SCOPE = /^[!#-[\]-~]+( [!#-[\]-~]+)*$/

/**
 * Decides what is granted: all that is allowed when nothing is asked for, else what is asked for, if allowed.
 *
 * @returns space-separated, each scope once; undefined when there is nothing to grant
 * @throws OAuthError `invalid_scope`
 */
export function grantScope(requested: string | undefined, allowed: readonly string[]): string | undefined {
  if (requested === undefined) return allowed.length === 0 ? undefined : allowed.join(' ')
  if (!SCOPE.test(requested)) throw invalidScope('malformed_scope')
  const scopes = new Set(requested.split(' '))
  for (const scope of scopes) if (!allowed.includes(scope)) throw invalidScope('scope_not_allowed')
  return [...scopes].join(' ')
}

function invalidScope(reason: RefusalReason): OAuthError {
  return new OAuthError(400, 'invalid_scope', 'The scope is malformed or not allowed for this client.', reason)
}
