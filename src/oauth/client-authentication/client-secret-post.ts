import { invalidClient } from '../oauth-error.ts'
import type { ClientAuthenticationMethod } from './presented-client.ts'

/** `client_secret_post`: id and secret in the body (RFC 6749 §2.3.1). */
export const clientSecretPost: ClientAuthenticationMethod = {
  name: 'client_secret_post',
  isUsed: (_authorization, parameters) => parameters.has('client_secret'),
  read: (_authorization, parameters) => {
    const clientId = parameters.get('client_id')
    const secret = parameters.get('client_secret')
    if (clientId === undefined || secret === undefined) throw invalidClient('no_credentials')
    return { clientId, credential: { kind: 'secret', secret } }
  }
}
