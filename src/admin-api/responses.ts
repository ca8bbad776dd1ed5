// Adds operationId, summary and tags to the type of a route's schema.
import type {} from '@fastify/swagger'
import { Type } from 'typebox'
import { STATUS_CODES } from '../http/node-http.ts'

/** The query of a route that takes no parameters: every parameter is refused. */
export const NoQuery = Type.Object({}, { additionalProperties: false })

interface RouteResponse {
  description: string
  headers?: Record<string, unknown>
  content: Record<string, { schema: { $ref: string } }>
}

/** Returns a JSON answer for the `response` of a route. @param schemaId `$id` of the schema of its body */
export function jsonResponse(description: string, schemaId: string, headers?: Record<string, unknown>): RouteResponse {
  return {
    description,
    ...(headers !== undefined && { headers }),
    content: { 'application/json': { schema: { $ref: schemaId } } }
  }
}

/** Returns the problems with which a route of the admin API may answer (RFC 9457), by their status. */
export function problemResponses(...statuses: number[]): Record<number, RouteResponse> {
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
  400: 'The request has faults. `errors` lists all of them',
  401: 'There is no valid bearer token',
  403: 'The token does not give the right to do this',
  404: 'The resource does not exist, or the caller is not allowed to see it',
  409: 'A limit is reached, or the state of the resource does not allow this. `code` says which',
  410: 'The ticket was used before',
  412: 'If-Match names another version',
  413: 'The body is larger than allowed',
  415: 'The body is not application/json',
  422: 'The Idempotency-Key was used for another request',
  500: 'Internal error',
  503: 'The service is temporarily unavailable. Retry-After says when to try again'
}

const CHALLENGE = { 'WWW-Authenticate': { type: 'string', description: 'Bearer challenge (RFC 6750 §3)' } }
const RETRY_AFTER = { 'Retry-After': { type: 'string', description: 'Seconds to wait before the next try' } }
