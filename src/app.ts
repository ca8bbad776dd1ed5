import type { FastifyBaseLogger, FastifyInstance } from 'fastify'
import type { TrustedIssuer } from './admin-api/admin-token.ts'
import { measureAdminRequests } from './admin-api/metrics.ts'
import { administration } from './admin-api/plugin.ts'
import { ADMIN_PREFIX } from './admin-api/site.ts'
import { AJV_OPTIONS } from './admin-api/validation.ts'
import { apiReferenceRoutes, DOCS_PATH } from './api-reference/routes.ts'
import { auditRetention } from './audit/plugin.ts'
import { allAuditRoutes, siteAuditRoutes } from './audit/routes.ts'
import type { Config } from './config/config.ts'
import type { MacKeys } from './credentials/mac-keys.ts'
import { macKeyRefresh } from './credentials/plugin.ts'
import type { Sealing } from './crypto/key-encryption.ts'
import { DatabaseClock } from './database/clock.ts'
import type { Connection } from './database/connect.ts'
import { databaseTime } from './database/plugin.ts'
import { discoveryRoutes } from './discovery/routes.ts'
import type { Drain } from './http/drain.ts'
import { health } from './http/health.ts'
import { requestMetrics } from './http/metrics.ts'
import { requestHandling } from './http/plugin.ts'
import { createServer } from './http/server.ts'
import type { TrustedIssuers } from './issuer-keys/trusted-issuers.ts'
import { measureLastUsed } from './last-used/metrics.ts'
import { lastUsed } from './last-used/plugin.ts'
import { revalidateAndRecordUse } from './last-used/revalidation.ts'
import { createUseRecorder } from './last-used/use-recorder.ts'
import type { Registry } from './metrics/registry.ts'
import { allAlertRoutes } from './notifications/alerts/routes.ts'
import { createAnnouncer } from './notifications/announcer.ts'
import { calendarFeed } from './notifications/calendar/feed/routes.ts'
import type { Resolve } from './notifications/channels/resolve.ts'
import { notificationOptions } from './notifications/options.ts'
import { notificationJobs } from './notifications/plugin.ts'
import { siteNotificationRoutes } from './notifications/routes.ts'
import { authorizationRoutes } from './oauth/authorization/routes.ts'
import { answerMethodNotAllowed } from './oauth/endpoint-scope.ts'
import { INTROSPECTION_PATH } from './oauth/introspection/routes.ts'
import { measureIntrospections, measureRevocations, measureTokenRequests } from './oauth/metrics.ts'
import { REFUSAL_REASONS } from './oauth/oauth-error.ts'
import { oauthEndpoints } from './oauth/plugin.ts'
import { refusalSlotOf } from './oauth/refusal-slot.ts'
import { REVOCATION_PATH } from './oauth/revocation/routes.ts'
import { SECRET_PATH } from './oauth/secret/routes.ts'
import { ClientCache } from './oauth/token/cache/client-cache.ts'
import { MAX_DELAY_MS, revalidateOnly } from './oauth/token/revalidation.ts'
import { TOKEN_PATH } from './oauth/token/routes.ts'
import { refusalRecording } from './registrations/diagnosis/plugin.ts'
import { idempotentAnswerPurge } from './registrations/idempotency/plugin.ts'
import { registrationOptions } from './registrations/options.ts'
import { allRegistrations, PUBLIC_PATHS, publicRegistrations, siteRegistrations } from './registrations/plugin.ts'
import { assertReadable } from './registrations/repository.ts'
import { revocationPurge } from './registrations/token-revocation/plugin.ts'
import { unusedRegistrations } from './registrations/unused/plugin.ts'
import type { RotatingKeySet } from './signing-keys/key-set.ts'
import { signingKeys } from './signing-keys/plugin.ts'

/** The parts of an instance that the rooms work with. */
export interface AppOptions
  extends Pick<
    Connection,
    'tables' | 'background' | 'lookups' | 'lastUsedWriter' | 'assertionUses' | 'standings' | 'health'
  > {
  /** Without it, rows in the cache are trusted after a failover or a restore too. */
  onLookupsUp?: Connection['onLookupsUp']
  config: Config
  sealing: Sealing
  /** Keys of the MACs by which secrets are verified. */
  macKeys: MacKeys
  keySet: RotatingKeySet
  /** The issuer of administrators' tokens. */
  trusted: TrustedIssuer
  /** The issuers of tokens by which platforms vouch for workloads. */
  trustedIssuers: Pick<TrustedIssuers, 'keysOf'>
  log: FastifyBaseLogger
  metrics: Registry
  drain: Drain
  /** Finds the addresses of a webhook's host. By default, DNS does. */
  resolve?: Resolve
  /** Whether the last-used plugin is registered, by default true. Without it `lastUsedAt` stays null. */
  recordsUse?: boolean
  /** Maximum delay, in milliseconds, that a slow Last used write may add to a token response. `MAX_DELAY_MS` by default. */
  maxDelayMs?: number
  /** Pause between two rounds that clear old refusals, milliseconds. An hour by default. */
  refusalRetentionIntervalMs?: number | undefined
  /** Milliseconds since the epoch. */
  now: () => number
  /** Time of the database, milliseconds since the epoch. By default, the database is asked. */
  databaseNow?: () => Promise<number>
  /** The time of the database as far as it is known without asking; Infinity when it is not. */
  databaseEstimate?: () => number
}

/**
 * The table of contents: every room, registered in the order in which requests meet them.
 *
 * @param beforeRoutes is registered before any route, to observe the routes that follow
 */
export async function buildApp(
  options: AppOptions,
  beforeRoutes: (app: FastifyInstance) => Promise<void> = async () => {}
): Promise<FastifyInstance> {
  const { config, tables, background, lookups, lastUsedWriter, sealing, macKeys, keySet, metrics, now } = options
  const clock = new DatabaseClock(background)
  const { databaseNow = clock.now, databaseEstimate = clock.estimate } = options
  const { recordsUse = true, maxDelayMs = MAX_DELAY_MS } = options
  // One statement revalidates all clients that wait. With the last-used plugin, the same statement records their use.
  const useRecorder = createUseRecorder({ db: lastUsedWriter, watch: measureLastUsed(metrics), log: options.log })
  const revalidation = recordsUse ? revalidateAndRecordUse(lastUsedWriter, useRecorder) : revalidateOnly(lookups)
  const cache = new ClientCache()
  options.onLookupsUp?.(() => cache.distrust())
  const registrations = registrationOptions({
    ...config.registrations,
    ...{ sealing, macKeys, metrics, recordsUse, now },
    onChanged: (clientId, version) => cache.noteChange(clientId, version)
  })
  const { issuer } = config
  const { cursorKeys } = registrations
  const notifications = notificationOptions({
    ...options,
    ...config.notices,
    ...{ issuer, cursorKeys, db: background, databaseNow }
  })
  const announcer = createAnnouncer(notifications)
  const registrationRooms = {
    ...registrations,
    ...{ tables, background, macKeys, issuer, announcer, refusalReasons: REFUSAL_REASONS },
    tokenEndpoint: `${issuer}${TOKEN_PATH}`
  }
  const audit = { cursorKeys: sealing.keys('audit cursors') }

  const app = createServer({ ...config, ...options, ajvOptions: AJV_OPTIONS })
  await beforeRoutes(app)
  await app.register(requestHandling, { ...options, onMethodNotAllowed: answerMethodNotAllowed })
  await app.register(requestMetrics, {
    registry: metrics,
    observers: [
      measureTokenRequests(metrics),
      measureIntrospections(metrics),
      measureRevocations(metrics),
      measureAdminRequests(metrics, ADMIN_PREFIX)
    ]
  })
  await app.register(databaseTime, { clock })
  if (recordsUse) await app.register(lastUsed, { db: lastUsedWriter, recorder: useRecorder, maxDelayMs })
  await app.register(oauthEndpoints, {
    ...options,
    ...config,
    ...config.tokens,
    ...{ registrations, announcer, revalidation, maxDelayMs, cache, databaseEstimate }
  })
  await app.register(refusalRecording, {
    ...{
      db: background,
      paths: [TOKEN_PATH, SECRET_PATH, INTROSPECTION_PATH, REVOCATION_PATH],
      slotOf: refusalSlotOf,
      workers: config.workers,
      now,
      databaseNow
    },
    retentionIntervalMs: options.refusalRetentionIntervalMs
  })
  if (config.discovery.publishesAuthorizationEndpoint) await app.register(authorizationRoutes)
  await app.register(discoveryRoutes, { ...config.discovery, issuer, docsPath: DOCS_PATH, keySet })
  await app.register(signingKeys, { keySet, metrics })
  await app.register(macKeyRefresh, { macKeys })
  await app.register(administration, {
    ...config.admin,
    prefix: ADMIN_PREFIX,
    tables,
    trusted: options.trusted,
    publicPaths: PUBLIC_PATHS,
    isOwnKey: async kid => (await keySet.published()).some(key => key.kid === kid),
    now,
    ofSite: async scope => {
      await siteRegistrations(scope, registrationRooms)
      await siteNotificationRoutes(scope, notifications)
      await siteAuditRoutes(scope, audit)
    },
    ofAllSites: async scope => {
      await allRegistrations(scope, registrationRooms)
      await allAlertRoutes(scope, notifications)
      await allAuditRoutes(scope, audit)
    }
  })
  await app.register(calendarFeed, { ...config.notices, tables, now })
  await app.register(publicRegistrations, { prefix: ADMIN_PREFIX, ...registrationRooms })
  await app.register(notificationJobs, notifications)
  if (recordsUse) {
    const { onChanged } = registrations
    await app.register(unusedRegistrations, {
      ...config.unused,
      ...{ db: background, issuer, announcer, onChanged, databaseNow }
    })
  }
  await app.register(auditRetention, { db: background, ...config.audit })
  await app.register(idempotentAnswerPurge, { db: background, now })
  await app.register(revocationPurge, { db: background })
  await app.register(health, { drain: options.drain, check: () => assertReadable(options.health) })
  await app.register(apiReferenceRoutes, { issuer })
  return app
}
