import { createLocalJWKSet, errors, type JSONWebKeySet, type JWTVerifyGetKey } from 'jose'
import { within } from '../concurrency/timeout.ts'
import { HOUR_MS, MINUTE_MS, SECOND_MS } from '../time.ts'

export interface IssuerKeysOptions {
  /** `iss` of the issuer's tokens. */
  issuer: string
  /** Fetches the JWKS. */
  fetchKeys: () => Promise<JSONWebKeySet>
  /** How long a caller waits for fetches at most, milliseconds. They go on for later callers. */
  maxWaitMs: number
  log: IssuerLog
}

export interface IssuerLog {
  info: (fields: object, message: string) => void
  error: (fields: object, message: string) => void
}

/** The keys of an issuer cannot be fetched now, so it is unknown whether a token is good. */
export class IssuerUnavailable extends Error {
  constructor(cause: unknown) {
    super('the keys of the issuer are not available', { cause })
    this.name = 'IssuerUnavailable'
  }
}

/** A key that the issuer withdraws is refused at the latest after this time. */
const FRESH_MS = 10 * MINUTE_MS
/** How long published keys keep working while the issuer cannot be reached. */
const USABLE_MS = 24 * HOUR_MS
/** Minimum pause after a fetch before an unknown `kid` causes another one. */
const COOL_DOWN_MS = 30 * SECOND_MS
/** Minimum pause after a fetch that failed: a flood of tokens must not become a flood of fetches. */
const RETRY_MS = SECOND_MS
/** The same while keys are held that can be used. */
const RETRY_WITH_KEYS_MS = 30 * SECOND_MS
/** How long a caller waits for newer keys when keys are held that can be used. */
const MAX_REFRESH_WAIT_MS = SECOND_MS

interface HeldKeys {
  find: JWTVerifyGetKey
  fetchedAt: number
}

/**
 * The keys that an issuer publishes. They are fetched when the first token comes, every 10 minutes as long as tokens come,
 * and when a token names an unknown key.
 *
 * Ages are measured with a monotonic clock, so that a change of the system time neither keeps a withdrawn key nor drops a
 * good one.
 */
export class IssuerKeys {
  readonly #options: IssuerKeysOptions
  #held: HeldKeys | undefined
  #fetch: Promise<HeldKeys> | undefined
  /** The latest fetch, when it failed. */
  #failure: { at: number; cause: unknown } | undefined

  constructor(options: IssuerKeysOptions) {
    this.#options = options
  }

  /** @throws IssuerUnavailable when no usable keys are held; JWKSNoMatchingKey for an unknown key */
  readonly find: JWTVerifyGetKey = async (header, token) => {
    const deadline = performance.now() + this.#options.maxWaitMs
    const held = await this.#usableKeys(deadline)
    try {
      return await findIn(held, header, token)
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey) || !this.#mayHaveNewKeys(held)) throw error
      return findIn(await this.#fetchBefore(deadline, RETRY_MS), header, token)
    }
  }

  async #usableKeys(deadline: number): Promise<HeldKeys> {
    const held = this.#held
    if (held === undefined || ageOf(held.fetchedAt) > USABLE_MS) return this.#fetchBefore(deadline, RETRY_MS)
    if (ageOf(held.fetchedAt) <= FRESH_MS) return held
    // A fetch that takes longer goes on for later callers, and one that fails leaves the held keys.
    await within(MAX_REFRESH_WAIT_MS, this.#fetchAfter(RETRY_WITH_KEYS_MS)).catch(() => false)
    return this.#held ?? held
  }

  /** While the issuer cannot be reached, it is unknown whether it has published a key. */
  #mayHaveNewKeys({ fetchedAt }: HeldKeys): boolean {
    return this.#failure !== undefined || ageOf(fetchedAt) > COOL_DOWN_MS
  }

  /** @throws IssuerUnavailable at the deadline too; the fetch goes on for later callers */
  async #fetchBefore(deadline: number, pauseMs: number): Promise<HeldKeys> {
    const fetched = this.#fetchAfter(pauseMs)
    if (await within(Math.max(0, deadline - performance.now()), fetched)) return fetched
    throw new IssuerUnavailable(new Error('the issuer has not answered yet'))
  }

  /** Joins the fetch that is under way, or starts one. @param pauseMs after a fetch that failed, milliseconds */
  async #fetchAfter(pauseMs: number): Promise<HeldKeys> {
    if (this.#fetch === undefined && this.#failure !== undefined && ageOf(this.#failure.at) < pauseMs) {
      throw new IssuerUnavailable(this.#failure.cause)
    }
    this.#fetch ??= this.#fetchNow().finally(() => {
      this.#fetch = undefined
    })
    return this.#fetch
  }

  async #fetchNow(): Promise<HeldKeys> {
    const { issuer, fetchKeys, log } = this.#options
    try {
      this.#held = { find: createLocalJWKSet(await fetchKeys()), fetchedAt: performance.now() }
      if (this.#failure !== undefined) log.info({ issuer }, 'the keys of an issuer are available again')
      this.#failure = undefined
      return this.#held
    } catch (cause) {
      if (this.#failure === undefined) log.error({ issuer, err: cause }, 'the keys of an issuer cannot be fetched')
      this.#failure = { at: performance.now(), cause }
      throw new IssuerUnavailable(cause)
    }
  }
}

/** Errors that are about the token. Any other one means that the issuer publishes a key that cannot be used. */
const ABOUT_THE_TOKEN = [errors.JWKSNoMatchingKey, errors.JWKSMultipleMatchingKeys, errors.JOSENotSupported]

async function findIn({ find }: HeldKeys, ...[header, token]: Parameters<JWTVerifyGetKey>) {
  try {
    return await find(header, token)
  } catch (error) {
    throw ABOUT_THE_TOKEN.some(kind => error instanceof kind) ? error : new IssuerUnavailable(error)
  }
}

function ageOf(at: number): number {
  return performance.now() - at
}
