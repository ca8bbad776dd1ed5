import { availableParallelism } from 'node:os'
import type { FastifyInstance } from 'fastify'
import type { Kysely } from 'kysely'
import { Semaphore } from '../../concurrency/semaphore.ts'
import { measureArgon2 } from '../../credentials/metrics.ts'
import type { Database } from '../../database/schema.ts'
import type { Registry } from '../../metrics/registry.ts'
import type { KeySet } from '../../signing-keys/key-set.ts'
import { SecretVerifier } from '../client-authentication/client-authentication.ts'
import { measureCredentials, measureFailureBrake } from '../metrics.ts'
import { Credentials } from './cache/credentials.ts'
import { FailureBrake } from './cache/failure-brake.ts'
import { KnownClients } from './cache/known-clients.ts'
import { type Revalidation, Revalidator } from './revalidation.ts'
import { tokenRoutes } from './routes.ts'

interface TokenEndpointOptions {
  issuer: string
  audience: string
  ttlSeconds: number
  /** Failures of one source for one client in a minute before 429, over all workers. */
  failureLimit: number
  /** How long a recent client is served from the cache while the database is unavailable, seconds. */
  staleSeconds: number
  /** Workers of the instance. Together they never exceed its limits. */
  workers: number
  lookups: Kysely<Database>
  revalidation: Revalidation
  /** The longest that revalidation may take, milliseconds. */
  maxDelayMs: number
  keySet: KeySet
  metrics: Registry
  /** Milliseconds since the epoch. */
  now: () => number
}

/** Argon2 takes a core for 10 ms. One core stays free for everything else. */
const HASHES_AT_ONCE = availableParallelism() - 1
const WAITING_PER_HASH = 200

/** The token endpoint and the parts that only it needs. */
export async function tokenEndpoint(app: FastifyInstance, options: TokenEndpointOptions): Promise<void> {
  const { lookups, metrics, workers, now, staleSeconds, failureLimit } = options
  const known = new KnownClients()
  const permits = Math.max(1, Math.floor(HASHES_AT_ONCE / workers))
  const hashing = new Semaphore({ permits, maxWaiting: WAITING_PER_HASH * permits })
  const brake = new FailureBrake(Math.max(1, Math.floor(failureLimit / workers)))
  measureArgon2(metrics, hashing, 'token')
  measureFailureBrake(metrics, brake)
  await tokenRoutes(app, {
    ...options,
    known,
    revalidator: new Revalidator(options.revalidation, options.maxDelayMs),
    credentials: new Credentials(
      { db: lookups, known, staleMs: staleSeconds * 1_000, now },
      measureCredentials(metrics, app.log)
    ),
    verifier: new SecretVerifier(hashing),
    brake
  })
}
