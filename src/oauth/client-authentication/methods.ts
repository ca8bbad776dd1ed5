import { invalidClient, invalidTokenRequest } from '../oauth-error.ts'
import { privateKeyJwt } from './client-assertion.ts'
import { clientSecretBasic } from './client-secret-basic.ts'
import { clientSecretPost } from './client-secret-post.ts'
import type { PresentedClient } from './presented-client.ts'

/** The methods by which clients authenticate, for every OAuth endpoint. A new method is a file and an entry here. */
export const CLIENT_AUTHENTICATION_METHODS = [clientSecretBasic, clientSecretPost, privateKeyJwt]

/**
 * Reads which client a request comes from and what it presents (RFC 6749 §2.3).
 *
 * @param authorization value of the Authorization header
 * @throws OAuthError `invalid_request` for more than one method or two client ids; `invalid_client`
 */
export function readClient(
  authorization: string | undefined,
  parameters: ReadonlyMap<string, string>
): PresentedClient {
  const used = CLIENT_AUTHENTICATION_METHODS.filter(method => method.isUsed(authorization, parameters))
  // A comma joins two headers of this name. No Authorization header that grantd accepts has one.
  if (used.length > 1 || authorization?.includes(',') === true) {
    throw invalidTokenRequest('The client authenticates in more than one way.', 'two_ways_of_authenticating')
  }
  const [method] = used
  if (method === undefined) throw invalidClient('no_credentials')
  const client = method.read(authorization, parameters)
  const clientId = parameters.get('client_id')
  if (clientId !== undefined && clientId !== client.clientId) {
    throw invalidTokenRequest('client_id differs from the client that the request authenticates.', 'two_client_ids')
  }
  return client
}
