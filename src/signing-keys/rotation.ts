/**
 * The rules of rotation: which key signs, which are published, when the next is due. Values and a time, nothing else.
 *
 * What holds: whoever fetched the JWKS, at any time and from any instance, has the key of every token that is alive,
 * for as long as that answer may be cached. Instances read the keys by themselves, their clocks differ, and any of
 * them may lose the database or its life at any step. `test/signing-keys/rotation.model.test.ts` tries them all.
 */

/** What the rules know of a key. Instants are milliseconds since the epoch. */
export interface KeyTimes {
  kid: string
  algorithm: string
  /** No instance signs with it before, so that by then everybody has it. */
  signsFrom: number
  /** From then on a newer key is preferred, of whatever algorithm. */
  signsUntil: number
  /** Can this instance open it? */
  isUsable: boolean
}

/** The keys as an instance has read them. */
export interface Known<Key extends KeyTimes = KeyTimes> {
  keys: readonly Key[]
  /** Before the reading began. */
  readAt: number
}

/** Milliseconds. */
export interface Timing {
  /** How long an answer with the keys may be cached, at most. */
  cacheMs: number
  /** A key is published this long before it signs. */
  leadMs: number
  /** An instance signs with what it knows until the database has been away this long. */
  trustMs: number
  /** A key stays published this long after the one that takes its place has begun to sign. */
  handoverMs: number
  /** A token outlives its signature by this: its longest life, and slack. */
  tokenMs: number
  /** Clocks of two instances differ, decisions take time, timers come late: all of that together. */
  slackMs: number
  /** A key may sign on this long after the next was to begin, should that come late. */
  spareMs: number
}

const SECOND = 1_000
const HOUR = 3_600 * SECOND
const DAY = 24 * HOUR

/** @param unawareMs how long an instance may not have read the keys before caches of its answers must shorten */
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

/** A key has a time also where KEY_ROTATION_DAYS is 0: it ends once another algorithm has taken over. */
const NOMINAL_LIFE_MS = 90 * DAY

/**
 * The key to sign with: the newest of this algorithm whose time has come. When that one's time is over, or there is
 * none yet, the newest of any algorithm; so nothing stops for want of a next key.
 *
 * @returns undefined when a verifier may not have what could be signed now: what is known was read too long ago, or
 *   the keys in force can't be opened here
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

/** Those that a living token may need, now or before this answer has left the caches. */
export function publishedKeys<Key extends KeyTimes>({ keys }: Known<Key>, now: number, timing = TIMING): Key[] {
  return keys.filter(key => key.isUsable && !isRetired(key, keys, now, timing))
}

/** Has another taken its place for so long that no token of this key is alive? */
export function isRetired(key: KeyTimes, keys: readonly KeyTimes[], now: number, timing = TIMING): boolean {
  return keys.some(
    other =>
      newestFirst(other, key) < 0 &&
      other.signsFrom + timing.handoverMs <= now &&
      (other.algorithm === key.algorithm || key.signsUntil + timing.handoverMs <= now)
  )
}

/**
 * How long an answer with the published keys may be cached, milliseconds: never beyond the instant from which a key
 * may sign that is not in it, because it was made since the last reading or can't be opened here.
 */
export function cacheMs({ keys, readAt }: Known, now: number, timing = TIMING): number {
  const missing = keys.filter(key => !key.isUsable && !isRetired(key, keys, now, timing)).map(key => key.signsFrom)
  const completeUntil = Math.min(readAt + timing.leadMs, ...missing) - timing.slackMs
  return Math.max(0, Math.min(timing.cacheMs, completeUntil - now))
}

/** @param rotationMs how long a key of this algorithm signs; 0 for as long as it is the newest of all */
export function isNextKeyDue(
  keys: readonly KeyTimes[],
  algorithm: string,
  rotationMs: number,
  now: number,
  timing = TIMING
): boolean {
  const [newest, ...others] = keys.filter(key => key.algorithm === algorithm).sort(newestFirst)
  if (newest === undefined) return true
  if (rotationMs > 0) {
    return Math.min(newest.signsFrom + rotationMs, newest.signsUntil - timing.spareMs) <= now + timing.leadMs
  }
  const isOverruled = keys.some(key => newestFirst(key, newest) < 0 && !others.includes(key))
  return isOverruled && newest.signsUntil <= now + timing.leadMs
}

/**
 * The time of a key that is made now. It signs at once where it follows none: the first of all, before any instance
 * has published a JWKS without it.
 *
 * @param keys those that it follows
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

/** The newest of each algorithm. @param keys the newest first */
function headsOf<Key extends KeyTimes>(keys: readonly Key[]): Key[] {
  return keys.filter((key, index) => keys.findIndex(({ algorithm }) => algorithm === key.algorithm) === index)
}

/** Negative when `a` is the newer of two. */
function newestFirst(a: KeyTimes, b: KeyTimes): number {
  return b.signsFrom - a.signsFrom || (a.kid > b.kid ? -1 : a.kid < b.kid ? 1 : 0)
}
