/** From headers and form to a token request, or the error it deserves. Pure: RFC 6749 §2.3.1, §3.2, §4.4.2. */

import { invalidClient, invalidTokenRequest, OAuthError } from '../oauth-error.ts'

export interface TokenRequest {
  clientId: string
  clientSecret: string
  /** Did the credentials come in the Authorization header? */
  usesHeader: boolean
  /** As asked for; undefined when not. */
  scope: string | undefined
}

/** Parameters by name, without the empty ones; or why the body is no such form. */
export type Form = ReadonlyMap<string, string> | { fault: 'malformed' | 'repeated' }

/**
 * @param authorization value of the Authorization header
 * @param form of the body, undefined when there is none of the right media type
 * @param hasQuery does the URL have a query?
 * @throws OAuthError
 */
export function readTokenRequest(
  authorization: string | undefined,
  form: Form | undefined,
  hasQuery: boolean
): TokenRequest {
  const parameters = readParameters(form, hasQuery)
  requireGrantType(parameters.get('grant_type'))
  return { ...readCredentials(authorization, parameters), scope: parameters.get('scope') }
}

/**
 * Reads a form body one way only. Empty parameters count as absent; any repeated one is a fault (RFC 6749 §3.2).
 *
 * @param body decoded from UTF-8, bytes that are not UTF-8 replaced by U+FFFD
 */
export function parseForm(body: string): Form {
  const parameters = new Map<string, string>()
  const names = new Set<string>()
  for (const pair of body.split('&')) {
    if (pair === '') continue
    const equals = pair.indexOf('=')
    const name = formDecode(equals < 0 ? pair : pair.slice(0, equals))
    const value = formDecode(equals < 0 ? '' : pair.slice(equals + 1))
    if (name === undefined || value === undefined) return { fault: 'malformed' }
    if (names.has(name)) return { fault: 'repeated' }
    names.add(name)
    if (value !== '') parameters.set(name, value)
  }
  return parameters
}

/** @returns undefined for a malformed escape, NUL, or what is not UTF-8 */
function formDecode(text: string): string | undefined {
  const decoded = /[%+]/.test(text) ? percentDecode(text.replaceAll('+', ' ')) : text
  return decoded === undefined || /[\0\uFFFD]/.test(decoded) ? undefined : decoded
}

function percentDecode(text: string): string | undefined {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}

function readParameters(form: Form | undefined, hasQuery: boolean): ReadonlyMap<string, string> {
  if (hasQuery) throw invalidTokenRequest('Parameters belong in the body, not in the query.', 'query')
  if (form === undefined) throw notAForm()
  if (!('fault' in form)) return form
  throw form.fault === 'repeated'
    ? invalidTokenRequest('A parameter is there twice.', 'repeated_parameter')
    : invalidTokenRequest('The body is not a well-formed form in UTF-8.', 'malformed_form')
}

export function notAForm(): OAuthError {
  return invalidTokenRequest(
    'The body must be application/x-www-form-urlencoded, without a Content-Encoding.',
    'media_type'
  )
}

function requireGrantType(grantType: string | undefined): void {
  if (grantType === undefined) throw invalidTokenRequest('grant_type is missing.', 'no_grant_type')
  if (grantType !== 'client_credentials') {
    throw new OAuthError(400, 'unsupported_grant_type', 'grant_type must be client_credentials.', 'grant_type')
  }
}

type Credentials = Pick<TokenRequest, 'clientId' | 'clientSecret' | 'usesHeader'>

function readCredentials(authorization: string | undefined, parameters: ReadonlyMap<string, string>): Credentials {
  const clientId = parameters.get('client_id')
  const clientSecret = parameters.get('client_secret')
  const hasAssertion = parameters.has('client_assertion') || parameters.has('client_assertion_type')
  if (authorization === undefined) {
    if (clientSecret !== undefined && hasAssertion) throw twoWays()
    if (clientId === undefined || clientSecret === undefined) throw invalidClient('no_credentials', false)
    return { clientId, clientSecret, usesHeader: false }
  }
  // A comma joins two headers of the name; no Authorization of ours has one.
  if (clientSecret !== undefined || hasAssertion || authorization.includes(',')) throw twoWays()
  const credentials = parseBasic(authorization)
  if (credentials === undefined) throw invalidClient('malformed_basic', true)
  if (clientId !== undefined && clientId !== credentials.clientId) {
    throw invalidTokenRequest('client_id is not the one of the Authorization header.', 'two_client_ids')
  }
  return credentials
}

function twoWays(): OAuthError {
  return invalidTokenRequest('The client authenticates in more than one way.', 'two_ways_of_authenticating')
}

/** `client_secret_basic`: both parts form-encoded before base64 (RFC 6749 §2.3.1, Appendix B; RFC 7617). */
function parseBasic(authorization: string): Credentials | undefined {
  const [, base64] = /^Basic +([A-Za-z0-9+/]+={0,2})$/i.exec(authorization) ?? []
  if (base64 === undefined) return undefined
  const bytes = Buffer.from(base64, 'base64')
  if (bytes.toString('base64') !== base64) return undefined
  const text = bytes.toString()
  const colon = text.indexOf(':')
  if (colon < 0) return undefined
  const clientId = formDecode(text.slice(0, colon))
  const clientSecret = formDecode(text.slice(colon + 1))
  if (!clientId || !clientSecret) return undefined
  return { clientId, clientSecret, usesHeader: true }
}
