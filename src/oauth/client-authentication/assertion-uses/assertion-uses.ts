import { createHash } from 'node:crypto'
import { Batcher, BatcherFull } from '../../../concurrency/batcher.ts'
import { BoundedMap } from '../../../concurrency/bounded-map.ts'
import { DatabaseUnavailable } from '../../../database/errors.ts'
import { MINUTE_MS } from '../../../time.ts'
import { invalidClient, OAuthError, slowDown, temporarilyUnavailable } from '../../oauth-error.ts'
import { type AssertionUse, MAX_LIVE_USES, type RecordedUses } from './repository.ts'

/**
 * How long a digest is kept after its assertion has ended. The clocks of two instances may differ by this much before an
 * instance whose clock is behind refuses assertions that others accept. It accepts none twice in any case.
 */
const KEPT_AFTER_END_MS = MINUTE_MS
/** Uses that may wait for an answer of the database. The next one is refused. */
const MAX_WAITING = 10_000
/** While one batch travels to a distant database and back, the next is on its way. */
const MAX_CONCURRENT = 2
/** A commit nearby takes less than this. The next batch then waits for it and grows. */
const LEAD_MS = 1
/** Assertions that this process remembers, a hundred bytes each. At least the latest half of them is remembered. */
const MAX_REMEMBERED = 100_000
/** Uses that were accepted while the database was away, and that it does not know yet. Further ones stay unknown to it. */
const MAX_UNRECORDED = 10_000

interface AssertionUsesOptions {
  /** Records uses. @returns the outcome for each client */
  record: (uses: readonly AssertionUse[], dropUntil: number) => Promise<readonly RecordedUses[]>
  /** Whether a client is served while the database is unavailable. */
  servesStale: (clientId: string) => boolean
  /** Milliseconds since the epoch. */
  now: () => number
}

type Outcome = { isFirst: boolean; fullUntil: number | undefined }

/**
 * Accepts each assertion once (RFC 7523 §3). The database decides, for all instances. While it is unavailable, the memory
 * of this process decides for clients that are served from the cache. The next statement that succeeds records what the
 * memory has accepted, so that other instances refuse it from then on.
 *
 * The digest needs no secret key: only a client that holds the private key gets its `jti` here, and two of its own that
 * collide would only make it sign again. By chance that is 2^-54 for a client with 1,024 assertions.
 */
export class AssertionUses {
  readonly #options: AssertionUsesOptions
  readonly #batcher: Batcher<AssertionUse, Outcome>
  /** When each remembered assertion ends, by its digest. */
  readonly #remembered = new BoundedMap<string, number>(MAX_REMEMBERED)
  /** Uses that the memory has accepted in place of the database, by their digest. */
  readonly #unrecorded = new Map<string, AssertionUse>()
  #count = 0

  constructor(options: AssertionUsesOptions) {
    this.#options = options
    this.#batcher = new Batcher({
      maxConcurrent: MAX_CONCURRENT,
      leadMs: LEAD_MS,
      maxWaiting: MAX_WAITING,
      process: async uses => {
        // First, so that they find a place among the 1,024 of their client.
        const unrecorded = [...this.#unrecorded.values()]
        const outcomes = await options.record([...unrecorded, ...uses.values()], options.now() - KEPT_AFTER_END_MS)
        for (const { digest } of unrecorded) this.#unrecorded.delete(digest)
        return outcomeOf(uses, unrecorded, outcomes)
      }
    })
  }

  /**
   * Uses an assertion, after its signature has proved right.
   *
   * @param end when it ends, milliseconds since the epoch
   * @throws OAuthError 401 when it was used before; 429 when the client has too many that have not ended; 503
   */
  async use(clientId: string, jti: string, end: number): Promise<void> {
    const digest = digestOf(clientId, jti)
    if ((this.#remembered.get(digest) ?? 0) > this.#options.now()) throw usedBefore()
    // From here on another request with the same assertion is refused, while the database is asked.
    this.#remembered.set(digest, end)
    try {
      await this.#record({ clientId, digest, end })
    } catch (error) {
      // After any other error than 401 the client may send the same assertion again.
      if (!(error instanceof OAuthError && error.status === 401)) this.#remembered.delete(digest)
      throw error
    }
  }

  async #record(use: AssertionUse): Promise<void> {
    const { servesStale, now } = this.#options
    try {
      // A key of its own for each use: two uses of one assertion are two items, of which the database accepts one.
      const { isFirst, fullUntil } = await this.#batcher.add(String(this.#count++), use)
      if (isFirst) return
      throw fullUntil === undefined ? usedBefore() : tooMany(fullUntil + KEPT_AFTER_END_MS - now())
    } catch (error) {
      if (!(error instanceof DatabaseUnavailable || error instanceof BatcherFull)) throw error
      if (!servesStale(use.clientId)) throw temporarilyUnavailable('database_unavailable')
      if (this.#unrecorded.size < MAX_UNRECORDED) this.#unrecorded.set(use.digest, use)
    }
  }
}

/**
 * Returns a function that gives the outcome of each use. Of two uses of one assertion, the first is the first.
 *
 * @param earlier uses that were recorded with them, and before them
 */
function outcomeOf(
  uses: ReadonlyMap<string, AssertionUse>,
  earlier: readonly AssertionUse[],
  recorded: readonly RecordedUses[]
): (key: string) => Outcome {
  const added = new Set(recorded.flatMap(({ added }) => added))
  for (const { digest } of earlier) added.delete(digest)
  const full = new Map(recorded.map(({ client_id, full_until }) => [client_id, full_until?.getTime()]))
  const outcomes = new Map<string, Outcome>()
  for (const [key, { clientId, digest }] of uses) {
    outcomes.set(key, { isFirst: added.delete(digest), fullUntil: full.get(clientId) })
  }
  return key => outcomes.get(key) ?? { isFirst: false, fullUntil: undefined }
}

/** The client id is part of it, so that a client cannot use up the `jti` of another. */
function digestOf(clientId: string, jti: string): string {
  return createHash('sha256').update(`${clientId}\0${jti}`).digest().readBigInt64BE().toString()
}

function usedBefore(): OAuthError {
  return invalidClient(
    'assertion_used',
    'The assertion was used before: its jti is known. Make a new one for each token request.'
  )
}

function tooMany(waitMs: number): OAuthError {
  const description =
    `grantd remembers ${MAX_LIVE_USES} assertions of a client, each until a minute after its exp. ` +
    'Use an access token until it is about to expire. A gateway that introspects needs a secret or a workload token.'
  return slowDown(description, 'too_many_assertions', waitMs)
}
