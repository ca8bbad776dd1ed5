import { invalidClient } from '../oauth-error.ts'
import type { ClientAuthenticationMethod } from './presented-client.ts'
import { parseSignedJwt } from './signed-jwt.ts'

export const ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'
/** An assertion with a signature of RSA 4096 takes a kilobyte. Tokens of platforms carry more claims. */
export const MAX_ASSERTION_LENGTH = 8_192

/**
 * `private_key_jwt`: a JWT that proves the client (RFC 7521 §4.2, RFC 7523 §2.2).
 *
 * An assertion that the client has made itself names the client in `iss` and `sub`. Any other is a token of a federated
 * issuer, which does not know client ids, so that `client_id` is required.
 */
export const privateKeyJwt: ClientAuthenticationMethod = {
  name: 'private_key_jwt',
  isUsed: (_authorization, parameters) => parameters.has('client_assertion') || parameters.has('client_assertion_type'),
  read: (_authorization, parameters) => {
    if (parameters.get('client_assertion_type') !== ASSERTION_TYPE) throw invalidClient('assertion_type')
    const text = parameters.get('client_assertion') ?? ''
    const assertion = text.length > MAX_ASSERTION_LENGTH ? undefined : parseSignedJwt(text)
    if (assertion === undefined) throw invalidClient('malformed_assertion')
    const { iss, sub } = assertion.claims
    const isOwn = iss === sub
    const clientId = isOwn ? sub : parameters.get('client_id')
    if (typeof clientId !== 'string') throw invalidClient('assertion_issuer')
    return { clientId, credential: { kind: 'assertion', isOwn, assertion } }
  }
}
