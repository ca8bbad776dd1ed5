import type { RefusalReason } from './oauth-error.ts'

/** Refusals of a caller that has presented a credential of the registration, also a retired one. Nobody else can cause them. */
const WITH_CREDENTIAL: ReadonlySet<string> = new Set<RefusalReason>([
  ...(['retired_secret', 'disabled', 'expired'] as const),
  ...(['retired_assertion', 'assertion_audience', 'assertion_time', 'assertion_jti', 'assertion_used'] as const),
  ...(['too_many_assertions', 'malformed_scope', 'scope_not_allowed'] as const),
  ...(['self_rotation_not_allowed', 'previous_secret', 'rotated_recently'] as const),
  ...(['repeated_resource', 'malformed_resource', 'resource_not_allowed'] as const),
  ...(['no_dpop_proof', 'malformed_dpop_proof', 'dpop_header', 'dpop_key', 'wrong_dpop_proof'] as const),
  ...(['dpop_target', 'dpop_time', 'dpop_jti'] as const)
])

/**
 * Returns where the diagnosis of a registration shows a refusal. A reason that is not listed above is one that anybody can
 * cause.
 *
 * @param reason why a request that names a client was refused
 * @returns undefined when no registration has the client id
 */
export function refusalSlotOf(reason: string): 'withCredential' | 'withoutCredential' | undefined {
  if (reason === 'unknown_client') return undefined
  return WITH_CREDENTIAL.has(reason) ? 'withCredential' : 'withoutCredential'
}
