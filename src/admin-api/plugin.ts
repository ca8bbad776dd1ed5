import cors from '@fastify/cors'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Tables } from '../database/site-scoped-pool.ts'
import { notFound, Problem, problemErrorHandler } from '../http/problem.ts'
import { administersAnything, mayAdminister } from './access.ts'
import { type Administrator, IssuerUnavailable, type TrustedIssuer, verifyAdminToken } from './admin-token.ts'
import { parseJsonBody } from './json-body.ts'
import type { Sites } from './site.ts'
import { validateRequest } from './validation.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Who sent this admin request. */
    administrator: Administrator | undefined
  }
}

interface AdministrationOptions {
  tables: Tables
  trusted: TrustedIssuer
  sitesClaim: string
  /** Is this the id of a key that signs access tokens? What it has signed is never an admin token. */
  isOwnKey: (kid: string) => Promise<boolean>
  corsOrigins: readonly string[]
  /** Milliseconds since the epoch. */
  now: () => number
}

/** A set of routes, for a scope to register. */
type Room = (app: FastifyInstance) => Promise<void>

/**
 * The admin API: whoever stands in it is an authenticated administrator, in `ofSite` of that Site, in `ofAllSites`
 * of every one. Its errors are problems (RFC 9457); its bodies are strict JSON.
 */
export async function administration(
  app: FastifyInstance,
  needs: AdministrationOptions & { ofSite: Room; ofAllSites: Room }
): Promise<void> {
  app.decorateRequest('administrator', undefined)
  app.decorateRequest('sites', undefined)
  app.decorateRequest('jsonFaults', undefined)
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, parseJsonBody)
  app.setErrorHandler(problemErrorHandler)
  if (needs.corsOrigins.length > 0) {
    await app.register(cors, {
      origin: [...needs.corsOrigins],
      methods: ['GET', 'POST', 'PATCH', 'DELETE'],
      allowedHeaders: ['Authorization', 'Content-Type', 'Idempotency-Key', 'If-Match', 'X-Request-Id'],
      exposedHeaders: ['ETag', 'Location', 'Retry-After', 'WWW-Authenticate', 'X-Request-Id'],
      maxAge: PREFLIGHT_MAX_AGE_SECONDS,
      strictPreflight: false
    })
  }
  // Before the body is read: strangers don't get to have theirs parsed.
  app.addHook('onRequest', async (request, reply) => {
    reply.header('cache-control', 'no-store')
    request.administrator = await authenticate(request, needs)
  })
  app.addHook('preValidation', validateRequest)
  await app.register(
    async scope => {
      scope.addHook('onRequest', async request => {
        const siteId = administeredSite(request)
        request.sites = { siteId, db: needs.tables.ofSite(siteId) }
      })
      await needs.ofSite(scope)
    },
    { prefix: '/sites/:siteId' }
  )
  await app.register(async scope => {
    const allSites: Sites = { siteId: undefined, db: needs.tables.ofAllSites }
    scope.addHook('onRequest', async request => {
      requireAllSites(request)
      request.sites = allSites
    })
    await needs.ofAllSites(scope)
  })
}

const PREFLIGHT_MAX_AGE_SECONDS = 600

async function authenticate(request: FastifyRequest, needs: AdministrationOptions): Promise<Administrator> {
  const { authorization } = request.headers
  // Another scheme is no token either: no error code then (RFC 6750 §3.1).
  if (authorization === undefined || !/^Bearer\b/i.test(authorization)) {
    throw unauthorized('no_token', 'A bearer token is required.', 'Bearer')
  }
  const [, token] = /^Bearer +([A-Za-z0-9._~+/-]+=*)$/i.exec(authorization) ?? []
  const administrator = token === undefined ? undefined : await verify(token, needs)
  if (administrator === undefined) {
    throw unauthorized('bad_token', 'The bearer token is not valid.', 'Bearer error="invalid_token"')
  }
  request.caller = { administrator: administrator.subject }
  if (!administersAnything(administrator.sites)) throw forbidden('no_rights')
  return administrator
}

async function verify(token: string, { trusted, sitesClaim, isOwnKey, now }: AdministrationOptions) {
  try {
    const administrator = await verifyAdminToken(trusted, sitesClaim, token, now())
    return administrator?.keyId !== undefined && (await isOwnKey(administrator.keyId)) ? undefined : administrator
  } catch (error) {
    if (!(error instanceof IssuerUnavailable)) throw error
    throw new Problem(503, 'unavailable', 'The identity provider cannot be reached; try again.', {
      headers: { 'retry-after': '1' },
      cause: error
    })
  }
}

/** Returns the Site in the path. A Site of others answers like one that does not exist. */
function administeredSite(request: FastifyRequest): string {
  const { params, administrator } = request
  const siteId = typeof params === 'object' && params !== null && 'siteId' in params ? params.siteId : undefined
  if (typeof siteId !== 'string' || administrator === undefined) throw notFound()
  if (!mayAdminister(administrator.sites, siteId)) throw notFound('other_site')
  return siteId
}

function requireAllSites(request: FastifyRequest): void {
  if (request.administrator?.sites !== 'all') throw forbidden('not_all_sites')
}

/** Why a caller was refused, for the log: the answer doesn't tell it apart from what isn't there. */
type Refusal = 'no_token' | 'bad_token' | 'no_rights' | 'other_site' | 'not_all_sites'

function unauthorized(reason: Refusal, detail: string, challenge: string): Problem {
  return new Problem(401, 'unauthorized', detail, { reason, headers: { 'www-authenticate': challenge } })
}

/** RFC 6750 §3.1. */
function forbidden(reason: Refusal): Problem {
  return new Problem(403, 'forbidden', 'The token gives no rights here.', {
    reason,
    headers: { 'www-authenticate': 'Bearer error="insufficient_scope"' }
  })
}
