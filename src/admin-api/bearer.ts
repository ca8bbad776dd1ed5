import { Problem } from '../http/problem.ts'

/**
 * Reads a bearer token from an Authorization header (RFC 6750 §2.1).
 *
 * @returns undefined when it is malformed
 * @throws Problem 401 without an error code when there is none: another scheme is no token either (§3.1)
 */
export function readBearerToken(authorization: string | undefined): string | undefined {
  if (authorization === undefined || !/^Bearer\b/i.test(authorization)) {
    throw unauthorized('no_token', 'A bearer token is required.', 'Bearer')
  }
  return /^Bearer +([A-Za-z0-9._~+/-]+=*)$/i.exec(authorization)?.[1]
}

/** Makes a 401 with its challenge. @param reason for the log: the answer tells less */
export function unauthorized(reason: string, detail: string, challenge: string): Problem {
  return new Problem(401, 'unauthorized', detail, { reason, headers: { 'www-authenticate': challenge } })
}

/** Challenge for a token that is not valid (RFC 6750 §3.1). */
export const INVALID_TOKEN = 'Bearer error="invalid_token"'
