/**
 * The rules of rotation decide which key signs, which keys are published, and when the next one is due.
 *
 * They guarantee that a verifier that fetched the JWKS, at any time and from any instance, has the key of every valid
 * token for as long as it may cache that answer. Instances read the keys independently, their clocks differ, and any of
 * them may lose the database or end at any step. `test/signing-keys/rotation.model.test.ts` checks this with a model.
 */

/** The part of a key that the rules use. Instants are milliseconds since the epoch. */
export interface KeyTimes {
  kid: string
  algorithm: string
  /** No instance signs with it before, so that by then every verifier has it. */
  signsFrom: number
  /** From then on a newer key of any algorithm is preferred. */
  signsUntil: number
  /** Whether this instance can decrypt it. */
  isUsable: boolean
}

/** The keys as an instance read them last. */
export interface Known<Key extends KeyTimes = KeyTimes> {
  keys: readonly Key[]
  /** Instant before the reading began. */
  readAt: number
}

/** Durations of the rules, milliseconds. */
export interface Timing {
  /** The longest that a JWKS answer may be cached. */
  cacheMs: number
  /** A key is published this long before it signs. */
  leadMs: number
  /** An instance signs with the keys it knows until the database has been away this long. */
  trustMs: number
  /** A key stays published this long after its successor has begun to sign. */
  handoverMs: number
  /** The longest that a token is valid after it was signed, with slack. */
  tokenMs: number
  /** Margin for clocks that differ, decisions that take time, and timers that are late. */
  slackMs: number
  /** A key may sign this much longer when its successor is late. */
  spareMs: number
}

const SECOND = 1_000
const HOUR = 3_600 * SECOND
const DAY = 24 * HOUR

/**
 * Derives the durations of the rules from a few that are given.
 *
 * @param unawareMs how long ago an instance may have read the keys before it must shorten the caching of its answers
 */
export function timing(given: {
  cacheMs: number
  unawareMs: number
  awayMs: number
  tokenLifeMs: number
  slackMs: number
  spareMs: number
}): Timing {
  const { cacheMs, unawareMs, awayMs, tokenLifeMs, slackMs, spareMs } = given
  const leadMs = cacheMs + unawareMs + slackMs
  return {
    cacheMs,
    leadMs,
    // A key that this instance does not know of was made after its reading, and takes another's place leadMs later.
    trustMs: leadMs + awayMs,
    handoverMs: awayMs + tokenLifeMs + slackMs,
    tokenMs: tokenLifeMs + slackMs,
    slackMs,
    spareMs
  }
}

export const TIMING = timing({
  cacheMs: 300 * SECOND,
  unawareMs: 600 * SECOND,
  /** The largest STALE_CREDENTIALS_SECONDS: without the database no token is issued for longer. */
  awayMs: HOUR,
  /** The largest ACCESS_TOKEN_TTL_SECONDS. */
  tokenLifeMs: HOUR,
  /** Clocks may differ by 30 s; a key is in the database within 60 s of its decision; a timer is late by 30 s at most. */
  slackMs: 120 * SECOND,
  spareMs: DAY
})

/** A key has an end also where KEY_ROTATION_DAYS is 0. It counts once another algorithm has taken over. */
const NOMINAL_LIFE_MS = 90 * DAY

/**
 * Returns the key to sign with: the newest one of this algorithm whose time has begun. When its time is over, or there is
 * none yet, it is the newest one of any algorithm, so that signing never stops because a successor is missing.
 *
 * @returns undefined when a verifier may not have the key: the keys were read too long ago, or this instance cannot
 *   decrypt the keys that are in force
 */
export function signingKey<Key extends KeyTimes>(
  { keys, readAt }: Known<Key>,
  algorithm: string,
  now: number,
  timing = TIMING
): Key | undefined {
  if (now > readAt + timing.trustMs) return undefined
  const usable = keys.filter(key => key.isUsable).sort(newestFirst)
  const heads = headsOf(usable.filter(key => key.signsFrom <= now))
  const inTime = heads.filter(key => now < key.signsUntil)
  // A first key that this instance's clock has not reached yet.
  const first = keys.every(key => now < key.signsFrom) ? usable.at(-1) : undefined
  const chosen = inTime.find(key => key.algorithm === algorithm) ?? inTime[0] ?? heads[0] ?? first
  if (chosen === undefined || isRetired(chosen, keys, now + timing.tokenMs, timing)) return undefined
  return chosen
}

/** Returns the keys that a valid token may need, now or while this answer is cached. */
export function publishedKeys<Key extends KeyTimes>({ keys }: Known<Key>, now: number, timing = TIMING): Key[] {
  return keys.filter(key => key.isUsable && !isRetired(key, keys, now, timing))
}

/** Returns whether a newer key has been signing for so long that no token of this key is valid any more. */
export function isRetired(key: KeyTimes, keys: readonly KeyTimes[], now: number, timing = TIMING): boolean {
  return keys.some(
    other =>
      newestFirst(other, key) < 0 &&
      other.signsFrom + timing.handoverMs <= now &&
      (other.algorithm === key.algorithm || key.signsUntil + timing.handoverMs <= now)
  )
}

/**
 * Returns how long an answer with the published keys may be cached, milliseconds. A key that is not in the answer may
 * sign later: it was added since the last reading, or this instance cannot decrypt it. The cache ends before that.
 */
export function cacheMs({ keys, readAt }: Known, now: number, timing = TIMING): number {
  const missing = keys.filter(key => !key.isUsable && !isRetired(key, keys, now, timing)).map(key => key.signsFrom)
  const completeUntil = Math.min(readAt + timing.leadMs, ...missing) - timing.slackMs
  return Math.max(0, Math.min(timing.cacheMs, completeUntil - now))
}

/**
 * Returns whether the next key of an algorithm must be added now.
 *
 * @param rotationMs how long a key signs; 0 for as long as it is the newest of all
 */
export function isNextKeyDue(
  keys: readonly KeyTimes[],
  algorithm: string,
  rotationMs: number,
  now: number,
  timing = TIMING
): boolean {
  const [newest, ...others] = keys.filter(key => key.algorithm === algorithm).sort(newestFirst)
  if (newest === undefined) return true
  if (rotationMs > 0) return successorFrom(newest, rotationMs, timing) <= now + timing.leadMs
  const isOverruled = keys.some(key => newestFirst(key, newest) < 0 && !others.includes(key))
  return isOverruled && newest.signsUntil <= now + timing.leadMs
}

/** Returns the instant from which the next key should sign in place of this one. @param rotationMs more than 0 */
export function successorFrom(
  { signsFrom, signsUntil }: Pick<KeyTimes, 'signsFrom' | 'signsUntil'>,
  rotationMs: number,
  timing = TIMING
): number {
  return Math.min(signsFrom + rotationMs, signsUntil - timing.spareMs)
}

/**
 * Returns the times of a key that is added now. The first key signs at once, because no instance has published a JWKS
 * without it.
 *
 * @param keys the keys before it
 */
export function nextKeyTimes(
  keys: readonly unknown[],
  rotationMs: number,
  now: number,
  timing = TIMING
): { signsFrom: number; signsUntil: number } {
  const signsFrom = keys.length === 0 ? now : now + timing.leadMs
  return { signsFrom, signsUntil: signsFrom + (rotationMs || NOMINAL_LIFE_MS) + timing.spareMs }
}

/** Returns the newest key of each algorithm. @param keys the newest first */
function headsOf<Key extends KeyTimes>(keys: readonly Key[]): Key[] {
  return keys.filter((key, index) => keys.findIndex(({ algorithm }) => algorithm === key.algorithm) === index)
}

/** Compares two keys. The result is negative when `a` is the newer one. */
function newestFirst(a: KeyTimes, b: KeyTimes): number {
  return b.signsFrom - a.signsFrom || (a.kid > b.kid ? -1 : a.kid < b.kid ? 1 : 0)
}
