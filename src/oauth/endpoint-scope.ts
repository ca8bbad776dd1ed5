import formbody from '@fastify/formbody'
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { jsonResponse } from '../admin-api/responses.ts'
import { AmbiguousHost } from '../http/common-hooks.ts'
import { setRefused } from '../http/outcome.ts'
import { isClientId } from '../registrations/client-id.ts'
import type { PresentedClient } from './client-authentication/presented-client.ts'
import { type Form, parseForm } from './form.ts'
import { invalidTokenRequest, notAForm, OAuthError } from './oauth-error.ts'
import { OAuthErrorSchema } from './schemas.ts'

/** The path of every OAuth endpoint begins with it. */
export const OAUTH_PREFIX = '/oauth'

/** Body of a request to an OAuth endpoint, undefined without a body. */
export type FormBody = { form: Form } | undefined

/**
 * Makes a scope in which OAuth endpoints are registered: bodies are forms, errors are those of RFC 6749 §5.2, and no
 * answer may be stored.
 */
export async function prepareEndpointScope(scope: FastifyInstance): Promise<void> {
  scope.removeAllContentTypeParsers()
  await scope.register(formbody, { parser: text => ({ form: parseForm(text) }) })
  // The schema of a body is for openapi.yaml only. The endpoint itself reads the form.
  scope.setValidatorCompiler(() => () => true)
  scope.setErrorHandler(answerError)
  scope.addSchema(OAuthErrorSchema)
}

/** Returns the query of a request, without the question mark. */
export function queryOf({ url }: FastifyRequest): string {
  const [, query = ''] = url.split('?', 2)
  return query
}

/** Lets the log and the diagnosis name the client. An id that grantd cannot have made may be a misplaced secret. */
export function noteClient(request: FastifyRequest, { clientId }: PresentedClient): void {
  if (isClientId(clientId)) request.caller = { clientId }
}

/**
 * Prepares an answer of JSON that must not be stored (RFC 6749 §5.1). Returns the body, for the handler to return. When a
 * handler returns the reply instead and a hook delays it, Fastify adds six listeners to the response.
 */
export function notStored<Body extends object>(reply: FastifyReply, body: Body): Body {
  reply.headers(NOT_STORED).type('application/json').serializer(JSON.stringify)
  return body
}

/** Sends a success that has nothing to say, and must not be stored. */
export function sendEmptyNotStored(reply: FastifyReply): FastifyReply {
  return reply.headers(NOT_STORED).send()
}

/** Answers 405 in the format of OAuth errors. @returns whether the path is that of an OAuth endpoint */
export function answerMethodNotAllowed(path: string, reply: FastifyReply): boolean {
  if (!path.startsWith(`${OAUTH_PREFIX}/`)) return false
  sendOAuthError(reply, invalidTokenRequest('This endpoint takes POST only.', 'method', 405))
  return true
}

/** Declares an endpoint at which clients authenticate, for openapi.yaml. */
export const CLIENT_ENDPOINT = {
  tags: ['Tokens'],
  security: [{ client: [] }, {}],
  consumes: ['application/x-www-form-urlencoded']
}

const NOT_STORED = { 'cache-control': 'no-store', pragma: 'no-cache' }

/** `Cache-Control` of every answer, for openapi.yaml. */
export const NOT_STORED_HEADER = { 'Cache-Control': { type: 'string', description: 'no-store' } }

/**
 * Describes the error answers of an OAuth endpoint for openapi.yaml.
 *
 * @param own what a status means at this endpoint, where that is not what it means at all of them
 */
export function oauthErrors(
  statuses: readonly ErrorStatus[],
  own: { [Status in ErrorStatus]?: string } = {}
): Record<number, ReturnType<typeof jsonResponse>> {
  return Object.fromEntries(
    statuses.map(status => [
      status,
      jsonResponse(own[status] ?? ERRORS[status], 'OAuthError', { ...NOT_STORED_HEADER, ...HEADERS[status] })
    ])
  )
}

type ErrorStatus = keyof typeof ERRORS

const ERRORS = {
  400: 'invalid_request: a parameter or a header is missing, malformed or sent twice',
  401: 'invalid_client',
  403: 'unauthorized_client: the registration does not allow this, or the secret is not the current one',
  405: 'invalid_request: only POST is allowed',
  413: 'invalid_request: the body exceeds 16 KiB',
  429: 'slow_down: too many failures from this source for this client, or too many assertions that have not ended',
  500: 'server_error: an internal error',
  503: 'temporarily_unavailable: the service is overloaded, or the database or the issuer of a workload token is unavailable'
}

const RETRY_AFTER = { 'Retry-After': { type: 'string', description: 'Seconds to wait before the next attempt' } }
const HEADERS: { [Status in ErrorStatus]?: Record<string, unknown> } = {
  401: { 'WWW-Authenticate': { type: 'string', description: 'Basic challenge (RFC 7617)' } },
  405: { Allow: { type: 'string', description: 'POST' } },
  429: RETRY_AFTER,
  503: RETRY_AFTER
}

function answerError(error: FastifyError, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const answered = toOAuthError(error)
  if (answered.status === 500) request.log.error({ requestId: request.id, err: error }, 'an OAuth request failed')
  return sendOAuthError(reply, answered)
}

/** Sends an error in the format of OAuth endpoints (RFC 6749 §5.2), and records it for the log and the metrics. */
export function sendOAuthError(reply: FastifyReply, error: OAuthError): FastifyReply {
  const { status, code, message, reason, failure, headers } = error
  setRefused(reply.request, status, reason, failure)
  return reply
    .code(status)
    .headers(headers)
    .send(notStored(reply, { error: code, error_description: message }))
}

function toOAuthError(error: FastifyError): OAuthError {
  if (error instanceof OAuthError) return error
  if (error instanceof AmbiguousHost) return invalidTokenRequest(error.message, 'hosts')
  if (error.statusCode === 413) return invalidTokenRequest('The body exceeds 16 KiB.', 'too_large', 413)
  if (error.statusCode === 415) return notAForm()
  if (error.statusCode !== undefined && error.statusCode >= 400 && error.statusCode < 500) {
    return invalidTokenRequest('The request is malformed.', 'malformed_request')
  }
  return new OAuthError(500, 'server_error', 'Internal error. See the server log for this request.', 'server_error')
}
