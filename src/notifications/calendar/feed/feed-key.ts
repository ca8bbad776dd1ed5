import { createHash, randomBytes } from 'node:crypto'

/** 256 random bits cannot be guessed. */
const KEY_BYTES = 32

/** Creates the key of a calendar feed: 256 random bits in base64url, 43 characters. */
export function createFeedKey(): string {
  return randomBytes(KEY_BYTES).toString('base64url')
}

/** Returns whether grantd can have created this text as a key. Its time depends on the text only. */
export function isFeedKey(text: string): boolean {
  return /^[A-Za-z0-9_-]{43}$/.test(text)
}

/**
 * Returns the SHA-256 of a key, which the database holds instead of the key.
 *
 * A slow hash such as Argon2id protects what people choose, because it can be guessed. Nobody can try 2^256 keys, so a fast hash
 * is enough. It also lets an index find the feed: the time of that look-up reveals something about digests, which a
 * caller cannot choose, and nothing about keys.
 */
export function digestFeedKey(key: string): Buffer {
  return createHash('sha256').update(key).digest()
}
