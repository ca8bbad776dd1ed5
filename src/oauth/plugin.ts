import { availableParallelism } from 'node:os'
import type { FastifyInstance } from 'fastify'
import type { Kysely } from 'kysely'
import { Semaphore } from '../concurrency/semaphore.ts'
import type { MacKeys } from '../credentials/mac-keys.ts'
import { measureArgon2 } from '../credentials/metrics.ts'
import type { Database } from '../database/schema.ts'
import type { Tables } from '../database/site-scoped-pool.ts'
import type { TrustedIssuers } from '../issuer-keys/trusted-issuers.ts'
import type { Registry } from '../metrics/registry.ts'
import type { Announcer } from '../registrations/announcement.ts'
import { findClients } from '../registrations/clients/repository.ts'
import type { RegistrationOptions } from '../registrations/service.ts'
import type { KeySet } from '../signing-keys/key-set.ts'
import { SECOND_MS } from '../time.ts'
import { AssertionUses } from './client-authentication/assertion-uses/assertion-uses.ts'
import { recordAssertionUses } from './client-authentication/assertion-uses/repository.ts'
import { FailureLimiter } from './client-authentication/failure-limiter.ts'
import { LostMacKeyRecovery } from './client-authentication/lost-mac-key.ts'
import { MissingDigests } from './client-authentication/missing-digests.ts'
import { endpointUrl } from './endpoint-url.ts'
import { introspectionRoutes } from './introspection/routes.ts'
import { Standings } from './issued-tokens/standings.ts'
import { VerifiedTokens } from './issued-tokens/verified-tokens.ts'
import { measureClientCache, measureFailureLimiter, measureLookups } from './metrics.ts'
import { revocationRoutes } from './revocation/routes.ts'
import { selfRotationRoutes } from './secret/routes.ts'
import type { ClientCache } from './token/cache/client-cache.ts'
import { ClientLookup } from './token/cache/client-lookup.ts'
import { type Revalidation, Revalidator } from './token/revalidation.ts'
import { TOKEN_PATH, tokenRoutes } from './token/routes.ts'

interface EndpointOptions {
  issuer: string
  audience: string
  ttlSeconds: number
  /** Failures of one source for one client in a minute before 429, over all workers. */
  failureLimit: number
  /** How long a recent client is served from the cache while the database is unavailable, seconds. */
  staleSeconds: number
  /** Sites whose registrations may introspect tokens of every Site. */
  introspectionSites: readonly string[]
  /** Workers of the instance. Together they never exceed its limits. */
  workers: number
  lookups: Kysely<Database>
  /** Records the use of assertions. */
  assertionUses: Kysely<Database>
  /** Reads the standing of tokens. */
  standings: Kysely<Database>
  /** For writes that may wait for a lock. */
  background: Kysely<Database>
  revalidation: Revalidation
  /** The longest that revalidation may take, milliseconds. */
  maxDelayMs: number
  cache: ClientCache
  macKeys: MacKeys
  /** For clients that rotate their own secret. */
  registrations: RegistrationOptions
  announcer: Announcer
  tables: Pick<Tables, 'ofSite'>
  /** The issuers of tokens by which platforms vouch for workloads. */
  trustedIssuers: Pick<TrustedIssuers, 'keysOf'>
  keySet: KeySet
  metrics: Registry
  /** Milliseconds since the epoch. */
  now: () => number
  /** The time of the database as far as it is known without asking; Infinity when it is not. Milliseconds since the epoch. */
  databaseEstimate: () => number
}

/** Default of libuv. Argon2 shares these threads with signatures, files and DNS. */
const THREADS = 4
/** Argon2 takes a core and a thread for 10 ms. One of each stays free for everything else. */
const HASHES_AT_ONCE = Math.min(availableParallelism(), THREADS) - 1
const WAITING_PER_HASH = 200

/** Registers the endpoints at which clients authenticate, and the parts that only these need. */
export async function oauthEndpoints(app: FastifyInstance, options: EndpointOptions): Promise<void> {
  const { lookups, background, macKeys, cache, metrics, workers, now } = options
  const permits = Math.max(1, Math.floor(HASHES_AT_ONCE / workers))
  const hashing = new Semaphore({ permits, maxWaiting: WAITING_PER_HASH * permits })
  const limiter = new FailureLimiter(Math.max(1, Math.floor(options.failureLimit / workers)))
  measureArgon2(metrics, hashing, 'token')
  measureFailureLimiter(metrics, limiter)
  measureClientCache(metrics, cache)
  const lookup = new ClientLookup({
    ...{ db: lookups, cache, macKeys, now },
    staleMs: options.staleSeconds * SECOND_MS,
    watch: measureLookups(metrics, app.log)
  })
  const assertionUses = new AssertionUses({
    record: (uses, dropUntil) => recordAssertionUses(options.assertionUses, uses, dropUntil),
    servesStale: clientId => lookup.servesStale(clientId),
    now
  })
  // Postgres plans a statement on its first use. The first token must not wait for it.
  app.addHook('onListen', async () => {
    await Promise.allSettled([findClients(lookups, [])])
  })
  const authentication = {
    ...options,
    ...{ lookup, assertionUses, limiter },
    recovery: new LostMacKeyRecovery({ db: background, macKeys, hashing }),
    missingDigests: new MissingDigests({ db: background, macKeys })
  }
  const verifiedTokens = new VerifiedTokens(options)
  await tokenRoutes(app, {
    ...authentication,
    tokenEndpoint: endpointUrl(options.issuer, TOKEN_PATH),
    revalidator: new Revalidator(options.revalidation, options.maxDelayMs)
  })
  await selfRotationRoutes(app, authentication)
  await introspectionRoutes(app, { ...authentication, standings: new Standings(options.standings), verifiedTokens })
  await revocationRoutes(app, { ...authentication, verifiedTokens })
}
