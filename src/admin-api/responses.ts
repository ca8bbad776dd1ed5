// For its types of operationId, summary and tags in a route's schema.
import type {} from '@fastify/swagger'
import { Type } from 'typebox'
import { STATUS_CODES } from '../http/node-http.ts'

/** The query of a route that takes no parameters: every parameter is refused. */
export const NoQuery = Type.Object({}, { additionalProperties: false })

interface Answer {
  description: string
  headers?: Record<string, unknown>
  content: Record<string, { schema: { $ref: string } }>
}

/** A JSON answer in a route's `response`, by the `$id` of its schema. */
export function answer(description: string, schemaId: string, headers?: Record<string, unknown>): Answer {
  return {
    description,
    ...(headers !== undefined && { headers }),
    content: { 'application/json': { schema: { $ref: schemaId } } }
  }
}

/** The problems that a route of the admin API can answer (RFC 9457), by their status. */
export function problems(...statuses: number[]): Record<number, Answer> {
  return Object.fromEntries(
    statuses.map(status => [
      status,
      {
        description: PROBLEMS[status] ?? STATUS_CODES[status] ?? 'Problem',
        ...(status === 401 || status === 403 ? { headers: CHALLENGE } : {}),
        ...(status === 503 ? { headers: RETRY_AFTER } : {}),
        content: { 'application/problem+json': { schema: { $ref: 'Problem' } } }
      }
    ])
  )
}

const PROBLEMS: Record<number, string> = {
  400: 'Something in the request is wrong; each fault is named',
  401: 'No token of an administrator, or not a good one',
  403: 'The token gives no rights here',
  404: 'Not there, or not for this caller to see',
  409: 'It would go beyond a limit, or the state of this one forbids it: `code` says which',
  412: 'If-Match names another version',
  413: 'The body is over 16 KiB',
  415: 'The body is not application/json',
  422: 'The Idempotency-Key was used with another body',
  500: 'A fault of the service',
  503: 'Not now; see Retry-After'
}

const CHALLENGE = { 'WWW-Authenticate': { type: 'string', description: 'Bearer challenge (RFC 6750 §3)' } }
const RETRY_AFTER = { 'Retry-After': { type: 'string', description: 'Seconds to wait before another try' } }
