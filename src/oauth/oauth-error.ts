/** Error codes of RFC 6749 §5.2, and of §4.1.2.1 for "not now", which §5.2 has no word for. */
export type OAuthErrorCode =
  | 'invalid_request'
  | 'invalid_client'
  | 'invalid_scope'
  | 'unsupported_grant_type'
  | 'temporarily_unavailable'
  | 'slow_down'
  | 'server_error'

/** Why a token request is refused, for the log and the metrics: a closed set, of which no part is input. */
export const REFUSAL_REASONS = [
  ...['query', 'repeated_parameter', 'malformed_form', 'media_type', 'too_large', 'malformed_request', 'method'],
  ...['hosts', 'no_grant_type', 'grant_type', 'two_ways_of_authenticating', 'two_client_ids'],
  ...['no_credentials', 'malformed_basic', 'malformed_secret', 'unknown_client', 'wrong_secret'],
  ...['retired_secret', 'disabled', 'expired'],
  ...['malformed_scope', 'scope_not_allowed', 'too_many_failures'],
  ...['hashing_overloaded', 'database_unavailable', 'signing_key_unavailable', 'server_error']
] as const
export type RefusalReason = (typeof REFUSAL_REASONS)[number]

/** An error answer of the token endpoint. `reason` is for the log and the metrics only. */
export class OAuthError extends Error {
  readonly status: number
  readonly code: OAuthErrorCode
  readonly reason: RefusalReason
  readonly headers: Readonly<Record<string, string>>

  /** @param description `error_description`, in the characters of RFC 6749 §5.2: printable ASCII without `"` and `\` */
  constructor(
    status: number,
    code: OAuthErrorCode,
    description: string,
    reason: RefusalReason,
    headers: Readonly<Record<string, string>> = {}
  ) {
    super(description)
    this.name = 'OAuthError'
    this.status = status
    this.code = code
    this.reason = reason
    this.headers = headers
  }
}

/** 400 `invalid_request`, or the status that says more of it. */
export function invalidTokenRequest(description: string, reason: RefusalReason, status = 400): OAuthError {
  return new OAuthError(status, 'invalid_request', description, reason)
}

/**
 * 401 `invalid_client`. Strangers get one and the same description, whatever the reason.
 *
 * @param usesHeader did the client use the Authorization header? Then it is challenged (RFC 6749 §5.2).
 */
export function invalidClient(
  reason: RefusalReason,
  usesHeader: boolean,
  description = 'Client authentication failed.'
): OAuthError {
  const headers = usesHeader
    ? { 'www-authenticate': 'Basic realm="grantd", error="invalid_client", charset="UTF-8"' }
    : {}
  return new OAuthError(401, 'invalid_client', description, reason, headers)
}

/** 503, for when trying again soon may help. */
export function temporarilyUnavailable(reason: RefusalReason): OAuthError {
  return new OAuthError(503, 'temporarily_unavailable', 'The service cannot answer now; try again.', reason, {
    'retry-after': '1'
  })
}
