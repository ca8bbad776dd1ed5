import { SECOND_MS } from '../time.ts'

/** Error codes of RFC 6749 §5.2, RFC 8707 §2 and RFC 9449 §5, and of §4.1.2.1 for what §5.2 has no code for. */
export const OAUTH_ERROR_CODES = [
  'invalid_request',
  'invalid_client',
  'unauthorized_client',
  'invalid_scope',
  'invalid_target',
  'invalid_dpop_proof',
  'unsupported_grant_type',
  'unsupported_response_type',
  'temporarily_unavailable',
  'slow_down',
  'server_error'
] as const
export type OAuthErrorCode = (typeof OAUTH_ERROR_CODES)[number]

/**
 * Why a token request is refused, for logs, metrics and diagnosis. The set is closed, so that no input gets into them.
 * refusal-slot.ts lists those that only the owner of a credential can cause.
 */
export const REFUSAL_REASONS = [
  ...['query', 'repeated_parameter', 'malformed_form', 'media_type', 'too_large', 'malformed_request', 'method'],
  ...['hosts', 'no_grant_type', 'grant_type', 'two_ways_of_authenticating', 'two_client_ids'],
  ...['no_credentials', 'malformed_basic', 'malformed_client_id', 'malformed_secret', 'unknown_client'],
  ...['wrong_secret', 'retired_secret', 'disabled', 'expired'],
  ...['assertion_type', 'malformed_assertion', 'assertion_header', 'assertion_typ', 'assertion_issuer'],
  ...['wrong_assertion', 'retired_assertion', 'assertion_audience', 'assertion_time', 'assertion_jti'],
  ...['assertion_used', 'too_many_assertions', 'untrusted_issuer', 'issuer_unavailable'],
  ...['malformed_scope', 'scope_not_allowed', 'repeated_resource', 'malformed_resource', 'resource_not_allowed'],
  ...['no_dpop_proof', 'malformed_dpop_proof', 'dpop_header', 'dpop_key', 'wrong_dpop_proof'],
  ...['dpop_target', 'dpop_time', 'dpop_jti'],
  ...['too_many_failures'],
  ...['hashing_overloaded', 'database_unavailable', 'signing_key_unavailable', 'cut_off_moves', 'server_error'],
  ...['unsupported_response_type'],
  ...['no_token'],
  ...['not_a_secret', 'previous_secret', 'self_rotation_not_allowed', 'rotated_recently', 'idempotency_key']
] as const
export type RefusalReason = (typeof REFUSAL_REASONS)[number]

/** An error answer of an OAuth endpoint. `reason` is for logs and metrics only. */
export class OAuthError extends Error {
  readonly status: number
  readonly code: OAuthErrorCode
  readonly reason: RefusalReason
  readonly headers: Readonly<Record<string, string>>
  /** The fault of the request itself, when it was refused because too many before it had failed. */
  readonly failure: RefusalReason | undefined

  /** @param description `error_description`, in the characters of RFC 6749 §5.2: printable ASCII without `"` and `\` */
  constructor(
    status: number,
    code: OAuthErrorCode,
    description: string,
    reason: RefusalReason,
    headers: Readonly<Record<string, string>> = {},
    failure?: RefusalReason
  ) {
    // A refusal is an expected answer, which anybody can cause: a stack trace would be most of its cost.
    const { stackTraceLimit } = Error
    Error.stackTraceLimit = 0
    super(description)
    Error.stackTraceLimit = stackTraceLimit
    this.name = 'OAuthError'
    this.status = status
    this.code = code
    this.reason = reason
    this.headers = headers
    this.failure = failure
  }
}

/** Makes a 429 `slow_down` with `Retry-After`. @param waitMs until the client may try again, milliseconds */
export function slowDown(
  description: string,
  reason: RefusalReason,
  waitMs: number,
  failure?: RefusalReason
): OAuthError {
  const headers = { 'retry-after': String(Math.max(1, Math.ceil(waitMs / SECOND_MS))) }
  return new OAuthError(429, 'slow_down', description, reason, headers, failure)
}

/** Makes a 400 `invalid_request`, or another status where that says more. */
export function invalidTokenRequest(description: string, reason: RefusalReason, status = 400): OAuthError {
  return new OAuthError(status, 'invalid_request', description, reason)
}

export function notAForm(): OAuthError {
  return invalidTokenRequest(
    'The body must be application/x-www-form-urlencoded, without a Content-Encoding.',
    'media_type'
  )
}

/** Makes the answer of the authorization endpoint to every request (RFC 6749 §4.1.2.1). */
export function unsupportedResponseType(): OAuthError {
  return new OAuthError(
    400,
    'unsupported_response_type',
    'grantd supports no response type. Request a token at the token endpoint, with grant_type=client_credentials.',
    'unsupported_response_type'
  )
}

/** Every 401 carries a challenge (RFC 9110 §15.5.2), also when the client did not use the Authorization header. */
const CHALLENGE = { 'www-authenticate': 'Basic realm="grantd", error="invalid_client", charset="UTF-8"' }

/** Makes a 401 `invalid_client`. Without a proven credential the description is always the same. */
export function invalidClient(reason: RefusalReason, description = 'Client authentication failed.'): OAuthError {
  return new OAuthError(401, 'invalid_client', description, reason, CHALLENGE)
}

/** Makes a 503 for failures that another attempt may not meet. */
export function temporarilyUnavailable(reason: RefusalReason): OAuthError {
  return new OAuthError(503, 'temporarily_unavailable', 'The service is temporarily unavailable. Try again.', reason, {
    'retry-after': '1'
  })
}
