import { formDecode } from '../form.ts'
import { invalidClient } from '../oauth-error.ts'
import type { ClientAuthenticationMethod, PresentedClient } from './presented-client.ts'

/** `client_secret_basic`: id and secret in the Authorization header (RFC 6749 §2.3.1, RFC 7617). */
export const clientSecretBasic: ClientAuthenticationMethod = {
  name: 'client_secret_basic',
  isUsed: authorization => authorization !== undefined,
  read: (authorization = '') => {
    const client = parseBasic(authorization)
    if (client === undefined) throw invalidClient('malformed_basic')
    return client
  }
}

/** Both parts are form-encoded before base64 (RFC 6749 §2.3.1, Appendix B). */
function parseBasic(authorization: string): PresentedClient | undefined {
  const [, base64] = /^Basic +([A-Za-z0-9+/]+={0,2})$/i.exec(authorization) ?? []
  if (base64 === undefined) return undefined
  const bytes = Buffer.from(base64, 'base64')
  if (bytes.toString('base64') !== base64) return undefined
  const text = bytes.toString()
  const colon = text.indexOf(':')
  if (colon < 0) return undefined
  const clientId = formDecode(text.slice(0, colon))
  const secret = formDecode(text.slice(colon + 1))
  if (!clientId || !secret) return undefined
  return { clientId, credential: { kind: 'secret', secret } }
}
