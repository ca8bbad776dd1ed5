import { readClient } from '../client-authentication/methods.ts'
import type { PresentedClient } from '../client-authentication/presented-client.ts'
import type { Form } from '../form.ts'
import { invalidTokenRequest } from '../oauth-error.ts'
import { readParameters, refuseOAuthParameters } from '../token/request.ts'

/** A request about a token that was issued before. */
export interface IssuedTokenRequest {
  client: PresentedClient
  /** As it was sent. */
  token: string
}

/**
 * Reads a request to introspect or to revoke a token (RFC 7662 §2.1, RFC 7009 §2.1). `token_type_hint` is not followed,
 * because grantd issues one type of token. Unknown parameters are ignored.
 *
 * @param authorization value of the Authorization header
 * @param form of the body, undefined when the body has another media type
 * @param query of the URL, without the question mark
 * @throws OAuthError 400, and 401 for a request without client authentication
 */
export function readIssuedTokenRequest(
  authorization: string | undefined,
  form: Form | undefined,
  query: string
): IssuedTokenRequest {
  refuseOAuthParameters(query)
  const parameters = readParameters(form)
  const client = readClient(authorization, parameters)
  const token = parameters.get('token')
  if (token === undefined) throw invalidTokenRequest('token is missing.', 'no_token')
  return { client, token }
}
