import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { type Static, Type } from 'typebox'
import { DatabaseUnavailable } from '../database/errors.ts'
import { AmbiguousHost } from './common-hooks.ts'
import { kib } from './limits.ts'
import { STATUS_CODES } from './node-http.ts'
import { setRefused } from './outcome.ts'

/** One fault of a request. */
export interface Fault {
  /** JSON pointer into the body (RFC 6901). Absent for a fault of the query or a header. */
  pointer?: string
  /** Name of the query parameter or header. */
  parameter?: string
  /** Stable, for programs. */
  code: string
  /** For people. It follows the name of the member or parameter, as in "must be in the future". */
  detail: string
}

/** The codes of problems, for programs. A code never changes its meaning. */
export const PROBLEM_CODES = [
  ...['invalid_request', 'invalid_json', 'too_large', 'headers_too_large', 'unsupported_media_type', 'request_timeout'],
  ...['unauthorized', 'forbidden', 'not_found', 'method_not_allowed'],
  ...['precondition_failed', 'quota_exceeded', 'idempotency_key_reused', 'recently_used'],
  ...['rotation_under_way', 'claimed', 'disabled', 'expired', 'same_credential'],
  ...['key_taken', 'credential_differs', 'would_enable', 'would_shorten'],
  ...['no_signing_secret', 'cancelled', 'already_delivered'],
  ...['unavailable', 'server_error']
] as const
export type ProblemCode = (typeof PROBLEM_CODES)[number]

/**
 * An error answer of the admin API (RFC 9457). `code` is stable. `detail` may be reworded.
 * `reason` is for the log only: it may say more than the caller may know.
 */
export class Problem extends Error {
  readonly status: number
  readonly code: ProblemCode
  readonly reason: string
  readonly faults: readonly Fault[]
  readonly headers: Readonly<Record<string, string>>
  /** Members that this problem has beside the usual ones (RFC 9457 §3.2). */
  readonly members: Readonly<Record<string, unknown>>

  constructor(
    status: number,
    code: ProblemCode,
    detail: string,
    {
      reason = code,
      faults = [],
      headers = {},
      members = {},
      cause
    }: {
      reason?: string
      faults?: readonly Fault[]
      headers?: Record<string, string>
      members?: Record<string, unknown>
      cause?: unknown
    } = {}
  ) {
    super(detail, { cause })
    this.name = 'Problem'
    this.status = status
    this.code = code
    this.reason = reason
    this.faults = faults
    this.headers = headers
    this.members = members
  }
}

export const ProblemSchema = Type.Object(
  {
    type: Type.String({ description: 'Always about:blank. `code` identifies the problem.', examples: ['about:blank'] }),
    title: Type.String({ description: 'The HTTP status in words.', examples: ['Bad Request'] }),
    status: Type.Integer({ description: 'The HTTP status.', examples: [400] }),
    code: Type.String({
      description: `Stable code of the problem, for programs: ${PROBLEM_CODES.join(', ')}. Later versions may add codes.`,
      examples: ['invalid_request']
    }),
    detail: Type.String({
      description: 'Explanation of the problem and its cure, for people. The text may change.',
      examples: ['The request has faults. "errors" lists them.']
    }),
    errors: Type.Optional(
      Type.Array(
        Type.Object(
          {
            pointer: Type.Optional(
              Type.String({
                description: 'JSON pointer to the faulty member of the body (RFC 6901).',
                examples: ['/name']
              })
            ),
            parameter: Type.Optional(
              Type.String({ description: 'Name of the faulty query parameter or header.', examples: ['limit'] })
            ),
            code: Type.String({ description: 'Stable code of the fault, for programs.', examples: ['required'] }),
            detail: Type.String({ description: 'Explanation of the fault, for people.', examples: ['is required'] })
          },
          { additionalProperties: false, description: 'One fault of the input.' }
        ),
        { description: 'All faults of the input.' }
      )
    )
  },
  { $id: 'Problem', additionalProperties: false, description: 'An error (RFC 9457).' }
)

export function sendProblem(reply: FastifyReply, problem: Problem): FastifyReply {
  return reply
    .code(problem.status)
    .headers({ ...problem.headers, 'content-type': PROBLEM_TYPE, 'cache-control': 'no-store' })
    .serializer(JSON.stringify)
    .send(representProblem(problem))
}

export const PROBLEM_TYPE = 'application/problem+json'

export function representProblem(problem: Problem): Static<typeof ProblemSchema> {
  const { status, code, message: detail, faults, members } = problem
  return {
    type: 'about:blank',
    title: STATUS_CODES[status] ?? 'Error',
    status,
    code,
    detail,
    ...(faults.length > 0 && { errors: [...faults] }),
    ...members
  }
}

/**
 * Returns the answer for a resource that does not exist and for one that the caller may not see. Both are the same,
 * byte for byte.
 *
 * @param reason for the log only
 */
export function notFound(reason = 'not_found'): Problem {
  return new Problem(404, 'not_found', 'The resource does not exist, or you are not allowed to see it.', { reason })
}

/** Error handler that answers every error as a problem, and records it as the outcome of the request. */
export function problemErrorHandler(error: FastifyError, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const problem = toProblem(error, request)
  setRefused(request, problem.status, problem.reason)
  // A 503 is expected when something is overloaded or away. The line of the request has its reason.
  if (problem.status === 500)
    request.log.error({ requestId: request.id, err: problem.cause ?? error }, 'request failed')
  return sendProblem(reply, problem)
}

const RETRY_AFTER_SECONDS = '1'

function toProblem(error: FastifyError, request: FastifyRequest): Problem {
  if (error instanceof Problem) return error
  if (error instanceof DatabaseUnavailable) {
    return new Problem(503, 'unavailable', 'The service is temporarily unavailable. Try again.', {
      reason: 'database_unavailable',
      headers: { 'retry-after': RETRY_AFTER_SECONDS },
      cause: error
    })
  }
  if (error instanceof AmbiguousHost) return new Problem(400, 'invalid_request', error.message, { reason: 'hosts' })
  if (error.statusCode === 413) {
    return new Problem(413, 'too_large', `The body is larger than ${kib(request.routeOptions.bodyLimit)}.`)
  }
  if (error.statusCode === 415) {
    return new Problem(415, 'unsupported_media_type', 'The body must be application/json without a Content-Encoding.')
  }
  if (error.statusCode !== undefined && error.statusCode >= 400 && error.statusCode < 500) {
    return new Problem(error.statusCode, 'invalid_request', 'The request is malformed.')
  }
  return new Problem(500, 'server_error', 'Internal error. The log of the server has the cause.', { cause: error })
}
