import cors from '@fastify/cors'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Tables } from '../database/site-scoped-pool.ts'
import { notFound, Problem } from '../http/problem.ts'
import { IssuerUnavailable } from '../issuer-keys/issuer-keys.ts'
import { administersAnything, mayAdminister } from './access.ts'
import { type Administrator, type TokenRefusal, type TrustedIssuer, verifyAdminToken } from './admin-token.ts'
import { INVALID_TOKEN, readBearerToken, unauthorized } from './bearer.ts'
import { prepareEndpointScope } from './endpoint-scope.ts'
import { isSiteId, type Sites } from './site.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** The authenticated sender of this request of the admin API. */
    administrator: Administrator | undefined
  }
}

interface AdministrationOptions {
  tables: Tables
  trusted: TrustedIssuer
  sitesClaim: string
  /** Returns whether grantd signs access tokens with the key of this id. Such a token is never an admin token. */
  isOwnKey: (kid: string) => Promise<boolean>
  corsOrigins: readonly string[]
  /** Paths below the prefix that are not for administrators. CORS stays off there. */
  publicPaths: readonly string[]
  /** Milliseconds since the epoch. */
  now: () => number
}

/** Registers a set of routes in a scope. */
type Routes = (app: FastifyInstance) => Promise<void>

/**
 * The admin API. Every request comes from an authenticated administrator: in `ofSite` of the Site in the path, in
 * `ofAllSites` of all Sites. Errors are problems (RFC 9457), and bodies are strict JSON.
 */
export async function administration(
  app: FastifyInstance,
  options: AdministrationOptions & { ofSite: Routes; ofAllSites: Routes }
): Promise<void> {
  app.decorateRequest('administrator', undefined)
  app.decorateRequest('sites', undefined)
  prepareEndpointScope(app)
  if (options.corsOrigins.length > 0) {
    app.addHook('onRequest', async (request, reply) => {
      const [path = ''] = request.url.split('?', 1)
      if (options.publicPaths.includes(path)) reply.callNotFound()
    })
    await app.register(cors, {
      origin: [...options.corsOrigins],
      methods: ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'],
      allowedHeaders: ['Authorization', 'Content-Type', 'Idempotency-Key', 'If-Match', 'If-None-Match', 'X-Request-Id'],
      exposedHeaders: ['ETag', 'Location', 'Retry-After', 'WWW-Authenticate', 'X-Request-Id'],
      maxAge: PREFLIGHT_MAX_AGE_SECONDS,
      strictPreflight: false
    })
  }
  // Before the body is read: grantd parses nothing for strangers.
  app.addHook('onRequest', async request => {
    request.administrator = await authenticate(request, options)
  })
  await app.register(
    async scope => {
      scope.addHook('onRequest', async request => {
        const siteId = administeredSite(request)
        request.sites = { siteId, db: options.tables.ofSite(siteId) }
      })
      await options.ofSite(scope)
    },
    { prefix: '/sites/:siteId' }
  )
  await app.register(async scope => {
    const allSites: Sites = { siteId: undefined, db: options.tables.ofAllSites }
    scope.addHook('onRequest', async request => {
      requireAllSites(request)
      request.sites = allSites
    })
    await options.ofAllSites(scope)
  })
}

const PREFLIGHT_MAX_AGE_SECONDS = 600

async function authenticate(request: FastifyRequest, options: AdministrationOptions): Promise<Administrator> {
  const administrator = await verify(readBearerToken(request.headers.authorization), options)
  request.caller = { administrator: administrator.subject }
  if (administrator.sites === undefined) throw forbidden('no_sites_claim')
  if (!administersAnything(administrator.sites)) throw forbidden('no_rights')
  return administrator
}

async function verify(
  token: string | undefined,
  { trusted, sitesClaim, isOwnKey, now }: AdministrationOptions
): Promise<Administrator> {
  if (token === undefined) throw invalidToken('malformed_token')
  try {
    const verification = await verifyAdminToken(trusted, sitesClaim, token, now())
    const { administrator } = verification
    if (administrator === undefined) throw invalidToken(verification.refusal)
    if (administrator.keyId !== undefined && (await isOwnKey(administrator.keyId))) throw invalidToken('own_token')
    return administrator
  } catch (error) {
    if (!(error instanceof IssuerUnavailable)) throw error
    throw new Problem(503, 'unavailable', 'The identity provider cannot be reached. Try again.', {
      reason: 'identity_provider_unavailable',
      headers: { 'retry-after': '1' },
      cause: error
    })
  }
}

/** Returns the Site in the path. A Site of others answers like one that does not exist. */
function administeredSite(request: FastifyRequest): string {
  const { params, administrator } = request
  const siteId = typeof params === 'object' && params !== null && 'siteId' in params ? params.siteId : undefined
  if (typeof siteId !== 'string' || !isSiteId(siteId) || administrator === undefined) throw notFound()
  const { sites } = administrator
  if (sites === undefined || !mayAdminister(sites, siteId)) throw notFound('other_site')
  return siteId
}

function requireAllSites(request: FastifyRequest): void {
  if (request.administrator?.sites !== 'all') throw forbidden('not_all_sites')
}

/** Why a caller was refused. It is for the log: the answer tells less. */
type Refusal = TokenRefusal | 'no_rights' | 'no_sites_claim' | 'not_all_sites' | 'other_site' | 'own_token'

function invalidToken(reason: Refusal): Problem {
  return unauthorized(reason, 'The bearer token is not valid.', INVALID_TOKEN)
}

/** RFC 6750 §3.1. */
function forbidden(reason: Refusal): Problem {
  return new Problem(403, 'forbidden', 'The token does not give the right to do this.', {
    reason,
    headers: { 'www-authenticate': 'Bearer error="insufficient_scope"' }
  })
}
