import formbody from '@fastify/formbody'
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { answer } from '../../admin-api/responses.ts'
import { AmbiguousHost } from '../../http/common-hooks.ts'
import { setOutcome, setRefused } from '../../http/outcome.ts'
import { sourceOf } from '../../http/source.ts'
import { isClientId } from '../../registrations/client-id.ts'
import { EXPIRING_MS } from '../../registrations/lifecycle.ts'
import { invalidTokenRequest, OAuthError } from '../oauth-error.ts'
import { type Exchange, type ExchangeNeeds, exchange } from './exchange.ts'
import { type Form, notAForm, parseForm, readTokenRequest } from './request.ts'
import { OAuthErrorSchema, TokenRequestSchema, TokenResponseSchema } from './schemas.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Set once this request has become an exchange; what watches exchanges reads it before the answer leaves. */
    exchange: Exchange | undefined
  }
}

export const TOKEN_PATH = '/oauth/token'

/** The token endpoint (RFC 6749 §3.2): its own form parser, its own errors. */
export async function tokenRoutes(app: FastifyInstance, needs: ExchangeNeeds): Promise<void> {
  app.decorateRequest('exchange', undefined)
  app.removeAllContentTypeParsers()
  await app.register(formbody, { parser: text => ({ form: parseForm(text) }) })
  // The schema of the body is for openapi.yaml; token-request.ts is what reads it.
  app.setValidatorCompiler(() => () => true)
  app.setErrorHandler(answerError)
  for (const schema of [TokenRequestSchema, TokenResponseSchema, OAuthErrorSchema]) app.addSchema(schema)

  app.post<{ Body: { form: Form } | undefined }>(
    TOKEN_PATH,
    {
      schema: {
        operationId: 'exchangeCredentials',
        summary: 'Exchange client credentials for an access token',
        description: 'RFC 6749 §4.4. Authenticate by the Authorization header or by client_id and client_secret.',
        tags: ['Tokens'],
        security: [{ client: [] }, {}],
        consumes: ['application/x-www-form-urlencoded'],
        body: { $ref: 'TokenRequest' },
        response: {
          200: answer('An access token', 'TokenResponse', { ...NO_STORE, ...SUNSET }),
          ...oauthErrors(400, 401, 413, 429, 500, 503)
        }
      }
    },
    async (request, reply) => {
      const { authorization } = request.headers
      const tokenRequest = readTokenRequest(authorization, request.body?.form, request.url.includes('?'))
      // An id that grantd can't have made may be a misplaced secret: it is not for the log.
      if (isClientId(tokenRequest.clientId)) request.caller = { clientId: tokenRequest.clientId }
      const exchanged = await exchange(needs, tokenRequest, sourceOf(request))
      request.exchange = exchanged
      setOutcome(request, { result: 'issued' })
      if (isNearExpiry(exchanged)) reply.header('sunset', new Date(exchanged.expiresAt).toUTCString())
      return reply.headers(NOT_STORED).type('application/json').serializer(JSON.stringify).send({
        access_token: exchanged.accessToken,
        token_type: 'Bearer',
        expires_in: exchanged.expiresInSeconds,
        scope: exchanged.scope
      })
    }
  )
}

/** In the last 30 days an answer tells when its registration expires (RFC 8594). */
function isNearExpiry({ expiresAt, at }: Exchange): boolean {
  return expiresAt - at <= EXPIRING_MS.expiring_30d
}

/** 405 in the token endpoint's own words. @returns whether the path is the token endpoint's */
export function answerMethodNotAllowed(path: string, reply: FastifyReply): boolean {
  if (path !== TOKEN_PATH) return false
  const refusal = invalidTokenRequest('The token endpoint takes POST only.', 'method', 405)
  setRefused(reply.request, refusal.status, refusal.reason)
  sendOAuthError(reply, refusal)
  return true
}

const NO_STORE = { 'Cache-Control': { type: 'string', description: 'no-store' } }
const SUNSET = {
  Sunset: { type: 'string', description: 'When the registration expires, in its last 30 days (RFC 8594)' }
}

function oauthErrors(...statuses: (keyof typeof OAUTH_ERRORS)[]): Record<number, ReturnType<typeof answer>> {
  return Object.fromEntries(
    statuses.map(status => [
      status,
      answer(OAUTH_ERRORS[status], 'OAuthError', { ...NO_STORE, ...MORE_HEADERS[status] })
    ])
  )
}

const OAUTH_ERRORS = {
  400: 'invalid_request, unsupported_grant_type or invalid_scope',
  401: 'invalid_client; with WWW-Authenticate when the Authorization header was used',
  413: 'invalid_request: the body is over 16 KiB',
  429: 'slow_down: too many failures from this source for this client; see Retry-After',
  500: 'server_error: a fault of the service',
  503: 'temporarily_unavailable: not now; see Retry-After'
}

const RETRY_AFTER = { 'Retry-After': { type: 'string', description: 'Seconds to wait before another try' } }
const MORE_HEADERS: { [Status in keyof typeof OAUTH_ERRORS]?: Record<string, unknown> } = {
  401: {
    'WWW-Authenticate': { type: 'string', description: 'Basic challenge, when the Authorization header was used' }
  },
  429: RETRY_AFTER,
  503: RETRY_AFTER
}

/** RFC 6749 §5.1. */
const NOT_STORED = { 'cache-control': 'no-store', pragma: 'no-cache' }

function answerError(error: FastifyError, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const answered = toOAuthError(error)
  setRefused(request, answered.status, answered.reason)
  if (answered.status === 500) request.log.error({ requestId: request.id, err: error }, 'token request failed')
  return sendOAuthError(reply, answered)
}

function sendOAuthError(reply: FastifyReply, { status, code, message, headers }: OAuthError): FastifyReply {
  return reply
    .code(status)
    .headers({ ...NOT_STORED, ...headers })
    .type('application/json')
    .serializer(JSON.stringify)
    .send({ error: code, error_description: message })
}

function toOAuthError(error: FastifyError): OAuthError {
  if (error instanceof OAuthError) return error
  if (error instanceof AmbiguousHost) return invalidTokenRequest(error.message, 'hosts')
  if (error.statusCode === 413) return invalidTokenRequest('The body is larger than 16 KiB.', 'too_large', 413)
  if (error.statusCode === 415) return notAForm()
  if (error.statusCode !== undefined && error.statusCode >= 400 && error.statusCode < 500) {
    return invalidTokenRequest('The request is malformed.', 'malformed_request')
  }
  return new OAuthError(500, 'server_error', 'Something went wrong here.', 'server_error')
}
