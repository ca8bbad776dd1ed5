import { comparableAudience } from '../../registrations/audience.ts'
import { REPEATED } from '../form.ts'
import { OAuthError } from '../oauth-error.ts'

/** As long as a registered audience can be. */
const MAX_LENGTH = 512
/** A scheme, then visible characters without a fragment (RFC 3986 §4.3). Only a registered text is granted anyway. */
const ABSOLUTE_URI = /^[a-z][a-z\d+.-]*:[!"$-~]+$/i

/** Sentences for the developer of the client, by the reason for the log. */
const FAULTS = {
  repeated_resource: 'One resource can be requested at a time.',
  malformed_resource: `The resource must be an absolute URI without a fragment, of at most ${MAX_LENGTH} characters.`,
  resource_not_allowed: 'The resource is not an audience of this client.'
}

export type AudienceDecision = { readonly granted: string } | { readonly fault: keyof typeof FAULTS }

/**
 * Decides which audience a token is for (RFC 8707 §2.2, RFC 9068 §3): the one that the request names, else the first of
 * the registration. A registration without audiences has the default.
 *
 * An audience is granted as it is registered, also when the request spells its path `/` and the registration leaves it
 * empty, or the reverse (RFC 3986 §6.2.3).
 *
 * @param requested value of the `resource` parameter
 * @param registered audiences of the registration
 * @param fallback the default audience, ACCESS_TOKEN_AUDIENCE
 */
export function decideAudience(
  requested: string | undefined,
  registered: readonly string[],
  fallback: string
): AudienceDecision {
  if (requested === undefined) return { granted: registered[0] ?? fallback }
  if (requested === REPEATED) return { fault: 'repeated_resource' }
  if (requested.length > MAX_LENGTH || !ABSOLUTE_URI.test(requested)) return { fault: 'malformed_resource' }
  const wanted = comparableAudience(requested)
  const allowed = registered.length === 0 ? [fallback] : registered
  const granted = allowed.find(audience => comparableAudience(audience) === wanted)
  return granted === undefined ? { fault: 'resource_not_allowed' } : { granted }
}

/** @throws OAuthError `invalid_target` (RFC 8707 §2) */
export function requireAudience(decision: AudienceDecision): string {
  if ('granted' in decision) return decision.granted
  throw new OAuthError(400, 'invalid_target', FAULTS[decision.fault], decision.fault)
}
