import { readClient } from '../client-authentication/methods.ts'
import type { PresentedClient } from '../client-authentication/presented-client.ts'
import { type Form, namesInQuery } from '../form.ts'
import { invalidTokenRequest, notAForm, OAuthError } from '../oauth-error.ts'

export interface TokenRequest {
  client: PresentedClient
  /** As requested, undefined without the parameter. */
  scope: string | undefined
  /** As requested, undefined without the parameter, `REPEATED` when it was sent more than once. */
  resource: string | undefined
  /** Value of the DPoP header. */
  dpopProof: string | undefined
}

/**
 * Reads a token request from its headers and form (RFC 6749 §3.2, §4.4.2). Unknown parameters are ignored.
 *
 * @param authorization value of the Authorization header
 * @param form of the body, undefined when the body has another media type
 * @param query of the URL, without the question mark
 * @param dpopProof value of the DPoP header
 * @throws OAuthError
 */
export function readTokenRequest(
  authorization: string | undefined,
  form: Form | undefined,
  query: string,
  dpopProof?: string
): TokenRequest {
  refuseOAuthParameters(query)
  const parameters = readParameters(form)
  requireGrantType(parameters.get('grant_type'))
  return {
    client: readClient(authorization, parameters),
    scope: parameters.get('scope'),
    resource: parameters.get('resource'),
    dpopProof
  }
}

/** Parameters of OAuth endpoints. In a URL they would get into logs and browser histories (RFC 6749 §2.3.1). */
const OAUTH_PARAMETERS = new Set([
  ...['grant_type', 'scope', 'resource', 'audience'],
  ...['client_id', 'client_secret', 'client_assertion', 'client_assertion_type'],
  ...['assertion', 'code', 'code_verifier', 'redirect_uri', 'refresh_token', 'username', 'password'],
  ...['token', 'token_type_hint', 'access_token', 'subject_token', 'actor_token']
])

/** @throws OAuthError `invalid_request` */
export function refuseOAuthParameters(query: string): void {
  if (namesInQuery(query).some(name => OAUTH_PARAMETERS.has(name))) {
    throw invalidTokenRequest('OAuth parameters belong in the body, not in the query.', 'query')
  }
}

/** Returns the parameters of a form. @throws OAuthError `invalid_request` */
export function readParameters(form: Form | undefined): ReadonlyMap<string, string> {
  if (form === undefined) throw notAForm()
  if (!('fault' in form)) return form
  throw form.fault === 'repeated'
    ? invalidTokenRequest('A parameter is repeated.', 'repeated_parameter')
    : invalidTokenRequest('The body is not a well-formed form in UTF-8.', 'malformed_form')
}

function requireGrantType(grantType: string | undefined): void {
  if (grantType === undefined) throw invalidTokenRequest('grant_type is missing.', 'no_grant_type')
  if (grantType !== 'client_credentials') {
    throw new OAuthError(400, 'unsupported_grant_type', 'grant_type must be client_credentials.', 'grant_type')
  }
}
