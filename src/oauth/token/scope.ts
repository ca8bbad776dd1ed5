import { OAuthError, type RefusalReason } from '../oauth-error.ts'

/** `scope = scope-token *( SP scope-token )` (RFC 6749 §3.3). */
const SCOPE = /^[!#-[\]-~]+( [!#-[\]-~]+)*$/

export type ScopeDecision = { readonly granted: string | undefined } | { readonly fault: RefusalReason }

/**
 * Decides which scope is granted: all that the registration allows when the request names none, else what it names.
 *
 * @param requested value of the `scope` parameter
 * @returns the granted scopes, separated by spaces, each once; undefined for none. Or why nothing is granted
 */
export function decideScope(requested: string | undefined, allowed: readonly string[]): ScopeDecision {
  if (requested === undefined) return { granted: allowed.length === 0 ? undefined : allowed.join(' ') }
  if (!SCOPE.test(requested)) return { fault: 'malformed_scope' }
  const scopes = [...new Set(requested.split(' '))]
  return scopes.every(scope => allowed.includes(scope)) ? { granted: scopes.join(' ') } : { fault: 'scope_not_allowed' }
}

/** @throws OAuthError `invalid_scope` (RFC 6749 §5.2) */
export function requireScope(decision: ScopeDecision): string | undefined {
  if ('granted' in decision) return decision.granted
  throw new OAuthError(400, 'invalid_scope', 'The scope is malformed or not allowed for this client.', decision.fault)
}
