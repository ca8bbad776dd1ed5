import { isNumericDate } from '../client-authentication/jwt-rules.ts'
import type { SignedJwt } from '../client-authentication/signed-jwt.ts'

/** An access token of this service (RFC 9068 §2.2). Its signature proved right. `iat` and `exp` are seconds since 1970. */
export interface IssuedToken {
  /** Id of the key that has signed it. */
  readonly kid: string
  readonly iss: string
  readonly sub: string
  readonly clientId: string
  readonly siteId: string
  readonly aud: string
  readonly jti: string
  readonly iat: number
  readonly exp: number
  /** Undefined when no scope was granted. */
  readonly scope: string | undefined
  /** The key that the token is bound to (RFC 9449 §6). Undefined for a bearer token. */
  readonly cnf: { readonly jkt: string } | undefined
}

/**
 * Reads the claims of a token that one of the signing keys has signed. Returns undefined when a claim is not as access
 * tokens have it: a key may sign other kinds of tokens one day, and instances with another ISSUER may share it.
 */
export function readClaims(kid: string, { claims }: SignedJwt, issuer: string): IssuedToken | undefined {
  const { iss, sub, client_id: clientId, site: siteId, aud, jti, iat, exp, scope, cnf } = claims
  if (iss !== issuer || !isText(clientId) || sub !== clientId || !isText(siteId) || !isText(aud)) return undefined
  if (!isText(jti) || !isNumericDate(iat) || !isNumericDate(exp)) return undefined
  if (scope !== undefined && !isText(scope)) return undefined
  const jkt = readThumbprint(cnf)
  if (cnf !== undefined && jkt === undefined) return undefined
  return { kid, iss, sub, clientId, siteId, aud, jti, iat, exp, scope, cnf: jkt === undefined ? undefined : { jkt } }
}

function isText(value: unknown): value is string {
  return typeof value === 'string'
}

function readThumbprint(cnf: unknown): string | undefined {
  const isConfirmation = typeof cnf === 'object' && cnf !== null && 'jkt' in cnf
  return isConfirmation && isText(cnf.jkt) ? cnf.jkt : undefined
}
