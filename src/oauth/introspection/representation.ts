import type { Introspection } from './introspect.ts'

/** Every inactive token has this answer, whatever the reason, so that it reveals nothing (RFC 7662 §2.2). */
const INACTIVE = { active: false }

/** Returns an introspection as the endpoint answers it (RFC 7662 §2.2). */
export function representIntrospection(introspection: Introspection): object {
  if ('inactivity' in introspection) return INACTIVE
  const { clientId, scope, exp, iat, iss, sub, aud, jti, siteId, cnf } = introspection.token
  return {
    active: true,
    client_id: clientId,
    scope,
    token_type: cnf === undefined ? 'Bearer' : 'DPoP',
    ...{ exp, iat, iss, sub, aud, jti },
    site: siteId,
    cnf
  }
}
