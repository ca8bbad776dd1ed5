import { availableParallelism } from 'node:os'
import Fastify, { type FastifyBaseLogger, type FastifyError, type FastifyInstance, LogController } from 'fastify'
import type { Kysely } from 'kysely'
import type { TrustedIssuer } from './admin-api/admin-token.ts'
import { measureAdminRequests } from './admin-api/metrics.ts'
import { administration } from './admin-api/plugin.ts'
import { ADMIN_PREFIX } from './admin-api/site.ts'
import { AJV_OPTIONS } from './admin-api/validation.ts'
import { apiReferenceRoutes } from './api-reference/routes.ts'
import { allAuditRoutes, siteAuditRoutes } from './audit/routes.ts'
import { Semaphore } from './concurrency/semaphore.ts'
import type { Config } from './config/config.ts'
import { measureArgon2 } from './credentials/metrics.ts'
import type { Sealing } from './crypto/key-encryption.ts'
import { measurePool } from './database/metrics.ts'
import type { Database } from './database/schema.ts'
import { isReachable, type Tables } from './database/site-scoped-pool.ts'
import { discoveryRoutes } from './discovery/routes.ts'
import { clientErrorAnswerer } from './http/client-error.ts'
import { limitConnections } from './http/connection-limit.ts'
import type { Drain } from './http/drain.ts'
import { AmbiguousHost, applyToAll, withGeneralHeaders } from './http/general.ts'
import { health } from './http/health.ts'
import { requestMetrics } from './http/metrics.ts'
import { answerUnrouted } from './http/not-found.ts'
import { recordOutcomes } from './http/outcome.ts'
import { ProblemSchema, problemErrorHandler } from './http/problem.ts'
import { logRequests, requestId } from './http/request-log.ts'
import { limitUnreadBodies } from './http/unread-body.ts'
import { measureLastUsed } from './last-used/metrics.ts'
import { lastUsed } from './last-used/plugin.ts'
import type { Registry } from './metrics/registry.ts'
import { allAlertRoutes, siteAlertRoutes } from './notifications/alerts/routes.ts'
import { AddressGuard } from './notifications/channels/address-guard.ts'
import { WEBHOOK_TIMEOUT_MS } from './notifications/channels/guarded-post.ts'
import { createResolve, type Resolve } from './notifications/channels/resolve.ts'
import { measureDeliveries } from './notifications/metrics.ts'
import { notices } from './notifications/plugin.ts'
import { sealingOfSecretsAnew } from './notifications/receivers/plugin.ts'
import { receiverRoutes } from './notifications/receivers/routes.ts'
import { noticeRoutes } from './notifications/routes.ts'
import { SecretVerifier } from './oauth/client-authentication/client-authentication.ts'
import { measureCredentials, measureFailureBrake, measureTokenRequests } from './oauth/metrics.ts'
import { Credentials } from './oauth/token/cache/credentials.ts'
import { FailureBrake } from './oauth/token/cache/failure-brake.ts'
import { KnownClients } from './oauth/token/cache/known-clients.ts'
import { Confirmations, confirmUnchanged } from './oauth/token/confirmations.ts'
import { answerMethodNotAllowed, tokenRoutes } from './oauth/token/routes.ts'
import { purgeOfSealedCreates } from './registrations/idempotency/plugin.ts'
import { rotationRoutes } from './registrations/rotation/routes.ts'
import { allRegistrationRoutes, siteRegistrationRoutes } from './registrations/routes.ts'
import type { TendedKeySet } from './signing-keys/key-set.ts'
import { measureSigningKey } from './signing-keys/metrics.ts'
import { signingKeyRotation } from './signing-keys/plugin.ts'
import { jwksRoutes } from './signing-keys/routes.ts'

/** What an instance is made of, beside its configuration. */
export interface AppNeeds {
  config: Config
  /** For administrators: each request gets those of its Site. */
  tables: Tables
  /** For what runs by itself. */
  background: Kysely<Database>
  /** For the look-ups of the token endpoint alone. */
  lookups: Kysely<Database>
  /** For writing Last used alone. */
  lastUses: Kysely<Database>
  sealing: Sealing
  keySet: TendedKeySet
  /** Whose tokens administrators bring. */
  trusted: TrustedIssuer
  log: FastifyBaseLogger
  metrics: Registry
  drain: Drain
  /** Finds the addresses of a webhook's host; by DNS unless told. */
  resolve?: Resolve
  /** The longest that trouble with Last used delays a token, milliseconds; 50 unless told. */
  maxTokenDelayMs?: number
  /** Milliseconds since the epoch. */
  now: () => number
}

/** Argon2 takes a core for 10 ms: one core is left for everything else, and waiting stays under two seconds. */
const TOKEN_HASHES_AT_ONCE = availableParallelism() - 1
const TOKEN_HASHES_WAITING_FOR_EACH = 200
/** A gate of their own, so that a flood at the token endpoint does not stop administrators. */
const ADMIN_HASHES_AT_ONCE = 1
const ADMIN_HASHES_WAITING = 100

/**
 * The table of contents: every room, registered explicitly.
 *
 * @param beforeRoutes registered before any route, to watch them being made
 */
export async function buildApp(
  needs: AppNeeds,
  beforeRoutes: (app: FastifyInstance) => Promise<void> = async () => {}
): Promise<FastifyInstance> {
  const { config, tables, background, lookups, lastUses, sealing, keySet, trusted, log, metrics, drain, now } = needs
  const app = createServer(needs)
  const adminGate = new Semaphore({ permits: ADMIN_HASHES_AT_ONCE, maxWaiting: ADMIN_HASHES_WAITING })
  const registrations = {
    ...config.registrations,
    tables,
    now,
    gate: adminGate,
    cursorKeys: sealing.keys('listing cursors'),
    retryPepper: sealing.keys('idempotent creates')[0]
  }
  const audit = { cursorKeys: sealing.keys('audit cursors') }
  const known = new KnownClients()
  const confirmations = new Confirmations(asked => confirmUnchanged(lookups, asked), needs.maxTokenDelayMs)
  // The workers of an instance share its cores, and its limit on failures: together they never let more pass.
  const hashesAtOnce = Math.max(1, Math.floor(TOKEN_HASHES_AT_ONCE / config.workers))
  const tokenGate = new Semaphore({ permits: hashesAtOnce, maxWaiting: TOKEN_HASHES_WAITING_FOR_EACH * hashesAtOnce })
  const brake = new FailureBrake(Math.max(1, Math.floor(config.tokens.failureLimit / config.workers)))
  measureArgon2(metrics, tokenGate, 'token')
  measureArgon2(metrics, adminGate, 'admin')
  measurePool(metrics, 'administration', tables.connections)
  measureFailureBrake(metrics, brake)
  measureSigningKey(metrics, keySet)
  const guard = new AddressGuard(config.notices.allowed)
  const receivers = {
    tables,
    now,
    issuer: config.issuer,
    steps: config.notices.steps,
    maxPerSite: config.notices.maxReceiversPerSite,
    sealing,
    sender: {
      guard,
      resolve: needs.resolve ?? createResolve(guard),
      timeoutMs: WEBHOOK_TIMEOUT_MS,
      mail: config.notices.mail,
      now
    }
  }

  await beforeRoutes(app)
  drain.watch(app)
  limitConnections(app, config.maxConnections, needs.log)
  limitUnreadBodies(app)
  applyToAll(app)
  recordOutcomes(app)
  logRequests(app)
  const answer = answerUnrouted(app, answerMethodNotAllowed)
  app.setErrorHandler<FastifyError>((error, request, reply) =>
    request.is404 && !(error instanceof AmbiguousHost)
      ? answer(request, reply)
      : problemErrorHandler(error, request, reply)
  )
  app.addSchema(ProblemSchema)

  await app.register(requestMetrics, {
    registry: metrics,
    observers: [measureTokenRequests(metrics), measureAdminRequests(metrics, ADMIN_PREFIX)]
  })
  await app.register(lastUsed, { db: lastUses, confirmations, watch: measureLastUsed(metrics) })
  await app.register(tokenRoutes, {
    ...config.tokens,
    issuer: config.issuer,
    known,
    confirmations,
    credentials: new Credentials(
      { db: lookups, known, staleMs: config.tokens.staleSeconds * 1_000, now },
      measureCredentials(metrics, log)
    ),
    keySet,
    now,
    verifier: new SecretVerifier(tokenGate),
    brake
  })
  await app.register(discoveryRoutes, { issuer: config.issuer })
  await app.register(jwksRoutes, { keySet })
  await app.register(signingKeyRotation, { keySet })
  await app.register(administration, {
    prefix: ADMIN_PREFIX,
    tables,
    trusted,
    sitesClaim: config.admin.sitesClaim,
    isOwnKey: async kid => (await keySet.published()).some(key => key.kid === kid),
    corsOrigins: config.admin.corsOrigins,
    now,
    ofSite: async scope => {
      await siteRegistrationRoutes(scope, registrations)
      await rotationRoutes(scope, registrations)
      await noticeRoutes(scope, registrations)
      await siteAlertRoutes(scope, { ...registrations, steps: config.notices.steps })
      await receiverRoutes(scope, receivers)
      await siteAuditRoutes(scope, audit)
    },
    ofAllSites: async scope => {
      await allRegistrationRoutes(scope, registrations)
      await allAlertRoutes(scope, { ...registrations, steps: config.notices.steps })
      await allAuditRoutes(scope, audit)
    }
  })
  await app.register(notices, {
    ...receivers,
    db: background,
    intervalMs: config.notices.intervalSeconds * 1_000,
    retentionDays: config.notices.retentionDays,
    webhook: config.notices.webhook,
    mailTo: config.notices.mailTo,
    count: measureDeliveries(metrics)
  })
  await app.register(sealingOfSecretsAnew, { db: background, sealing })
  await app.register(purgeOfSealedCreates, { db: background, now })
  await app.register(health, { isReady: async () => drain.takesClients && (await isReachable(lookups)) })
  await app.register(apiReferenceRoutes)
  return app
}

const BODY_LIMIT_BYTES = 16_384
const HEADERS_LIMIT_BYTES = 16_384
const HEADERS_TIMEOUT_MS = 10_000
const REQUEST_TIMEOUT_MS = 15_000
/** A connection on which nothing is sent and nothing is under way. */
const SILENCE_TIMEOUT_MS = 30_000

function createServer({ config, log }: AppNeeds): FastifyInstance {
  return Fastify({
    loggerInstance: log,
    logController: new LogController({ disableRequestLogging: true }),
    // One for all: making one for each request costs more than the line that it writes.
    childLoggerFactory: logger => logger,
    genReqId: requestId,
    bodyLimit: BODY_LIMIT_BYTES,
    // An id of any length is just not there; the limit on headers bounds the URL.
    routerOptions: { maxParamLength: HEADERS_LIMIT_BYTES },
    requestTimeout: REQUEST_TIMEOUT_MS,
    connectionTimeout: SILENCE_TIMEOUT_MS,
    trustProxy: config.trustedProxies.length > 0 ? [...config.trustedProxies] : false,
    ajv: { customOptions: AJV_OPTIONS },
    // What a representation makes is answered as it is, and the tests hold it against openapi.yaml: compiling the
    // schema of each answer would take a third of the time that starting does.
    schemaController: { compilersFactory: { buildSerializer: () => () => JSON.stringify } },
    // Of a malformed URL: no hook has run for it.
    frameworkErrors: (error, request, reply) => problemErrorHandler(error, request, withGeneralHeaders(reply)),
    clientErrorHandler: clientErrorAnswerer(log),
    // What still comes while we close is answered.
    return503OnClosing: false,
    http: {
      headersTimeout: HEADERS_TIMEOUT_MS,
      connectionsCheckingInterval: 1_000,
      maxHeaderSize: HEADERS_LIMIT_BYTES,
      // A second Authorization header is not ignored but seen, joined to the first by a comma.
      joinDuplicateHeaders: true
    }
  })
}
