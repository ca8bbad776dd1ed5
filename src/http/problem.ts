import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { DatabaseUnavailable } from '../database/errors.ts'
import { AmbiguousHost } from './common-hooks.ts'
import { STATUS_CODES } from './node-http.ts'
import { setRefused } from './outcome.ts'

/** One thing that is wrong with a request: where, and what. */
export interface Fault {
  /** JSON pointer into the body (RFC 6901); absent for a fault of the query or a header. */
  pointer?: string
  /** Name of the query parameter or header. */
  parameter?: string
  /** Stable, for programs. */
  code: string
  /** For people. */
  detail: string
}

/**
 * An error answer of the admin API (RFC 9457). `code` is stable. `detail` may be reworded.
 * `reason` is for the log only: it may say more than the caller may know.
 */
export class Problem extends Error {
  readonly status: number
  readonly code: string
  readonly reason: string
  readonly faults: readonly Fault[]
  readonly headers: Readonly<Record<string, string>>

  constructor(
    status: number,
    code: string,
    detail: string,
    {
      reason = code,
      faults = [],
      headers = {},
      cause
    }: { reason?: string; faults?: readonly Fault[]; headers?: Record<string, string>; cause?: unknown } = {}
  ) {
    super(detail, { cause })
    this.name = 'Problem'
    this.status = status
    this.code = code
    this.reason = reason
    this.faults = faults
    this.headers = headers
  }
}

export const ProblemSchema = Type.Object(
  {
    type: Type.String({ description: 'Always about:blank: `code` tells problems apart', examples: ['about:blank'] }),
    title: Type.String({ description: 'The HTTP status in words' }),
    status: Type.Integer({ description: 'The HTTP status' }),
    code: Type.String({ description: 'Stable code of the problem, for programs' }),
    detail: Type.String({ description: 'What is wrong, for people' }),
    errors: Type.Optional(
      Type.Array(
        Type.Object(
          {
            pointer: Type.Optional(
              Type.String({ description: 'JSON pointer to the faulty member of the body (RFC 6901)' })
            ),
            parameter: Type.Optional(Type.String({ description: 'Name of the faulty query parameter or header' })),
            code: Type.String({ description: 'Stable code of the fault, for programs' }),
            detail: Type.String({ description: 'What is wrong, for people' })
          },
          { additionalProperties: false }
        ),
        { description: 'Each fault of the input' }
      )
    )
  },
  { $id: 'Problem', additionalProperties: false, description: 'An error (RFC 9457)' }
)

export function sendProblem(reply: FastifyReply, problem: Problem): FastifyReply {
  const { status, code, message: detail, faults } = problem
  return reply
    .code(status)
    .headers({ ...problem.headers, 'content-type': 'application/problem+json', 'cache-control': 'no-store' })
    .serializer(JSON.stringify)
    .send({
      type: 'about:blank',
      title: STATUS_CODES[status] ?? 'Error',
      status,
      code,
      detail,
      ...(faults.length > 0 && { errors: faults })
    })
}

/**
 * What isn't there and what the caller may not see are the same answer, byte for byte:
 * neither the body nor the headers depend on which it is.
 */
export function notFound(reason = 'not_found'): Problem {
  return new Problem(404, 'not_found', 'There is nothing here that you may see.', { reason })
}

/** Error handler that answers every error as a problem, and records it as the outcome of the request. */
export function problemErrorHandler(error: FastifyError, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const problem = toProblem(error)
  setRefused(request, problem.status, problem.reason)
  if (problem.status >= 500) request.log.error({ requestId: request.id, err: problem.cause ?? error }, 'request failed')
  return sendProblem(reply, problem)
}

const RETRY_AFTER_SECONDS = '1'

function toProblem(error: FastifyError): Problem {
  if (error instanceof Problem) return error
  if (error instanceof DatabaseUnavailable) {
    return new Problem(503, 'unavailable', 'The service cannot do this now; try again.', {
      headers: { 'retry-after': RETRY_AFTER_SECONDS },
      cause: error
    })
  }
  if (error instanceof AmbiguousHost) return new Problem(400, 'invalid_request', error.message, { reason: 'hosts' })
  if (error.statusCode === 413) return new Problem(413, 'too_large', 'The body is larger than 16 KiB.')
  if (error.statusCode === 415)
    return new Problem(415, 'unsupported_media_type', 'The body must be application/json, without a Content-Encoding.')
  if (error.statusCode !== undefined && error.statusCode >= 400 && error.statusCode < 500) {
    return new Problem(error.statusCode, 'invalid_request', 'The request is malformed.')
  }
  return new Problem(500, 'server_error', 'Something went wrong here; the log has it.', { cause: error })
}
