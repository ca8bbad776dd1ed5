import { OAuthError, type RefusalReason } from '../oauth-error.ts'

/** `scope = scope-token *( SP scope-token )` (RFC 6749 §3.3). */
const SCOPE = /^[!#-[\]-~]+( [!#-[\]-~]+)*$/

/** Why not all that is asked for can be granted: `malformed_scope`, `scope_not_allowed`, or nothing. */
export function scopeFault(requested: string | undefined, allowed: readonly string[]): RefusalReason | undefined {
  if (requested === undefined) return undefined
  if (!SCOPE.test(requested)) return 'malformed_scope'
  return requested.split(' ').every(scope => allowed.includes(scope)) ? undefined : 'scope_not_allowed'
}

/**
 * Decides what is granted: all that is allowed when nothing is asked for, else what is asked for, if allowed.
 *
 * @returns space-separated, each scope once; undefined when there is nothing to grant
 * @throws OAuthError `invalid_scope`
 */
export function grantScope(requested: string | undefined, allowed: readonly string[]): string | undefined {
  const fault = scopeFault(requested, allowed)
  if (fault !== undefined) {
    throw new OAuthError(400, 'invalid_scope', 'The scope is malformed or not allowed for this client.', fault)
  }
  if (requested !== undefined) return [...new Set(requested.split(' '))].join(' ')
  return allowed.length === 0 ? undefined : allowed.join(' ')
}
