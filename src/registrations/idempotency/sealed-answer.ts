import { createCipheriv, createDecipheriv, createHash, hkdfSync, randomBytes } from 'node:crypto'

/** Two values that are derived from the Idempotency-Key of one caller in one Site. Neither reveals the other. */
export interface RetryKey {
  /** Finds the stored answer. */
  digest: Buffer
  /** Encrypts it. */
  sealingKey: Buffer
}

/** An answer that a retry gets again. */
export interface StoredAnswer<Answer> {
  /** Digest of the request that it answers. */
  request: string
  answer: Answer
}

const KEY_BYTES = 32
const NONCE_BYTES = 12
const TAG_BYTES = 16
const CIPHER = 'aes-256-gcm'

/**
 * Derives the digest and the encryption key of a caller's Idempotency-Key (HKDF-SHA-256, RFC 5869).
 *
 * @param pepper 32 bytes from KEY_ENCRYPTION_KEY, so that nobody can guess keys with a copy of the database only
 */
export function deriveRetryKey(
  pepper: Buffer,
  siteId: string,
  { issuer, actor }: { issuer: string; actor: string },
  idempotencyKey: string
): RetryKey {
  const caller = createHash('sha256')
    .update(JSON.stringify([siteId, issuer, actor]))
    .digest()
  const derived = Buffer.from(hkdfSync('sha256', idempotencyKey, pepper, caller, 2 * KEY_BYTES))
  return { digest: derived.subarray(0, KEY_BYTES), sealingKey: derived.subarray(KEY_BYTES) }
}

/** Encrypts an answer (AES-256-GCM, random nonce), bound to the digest that finds it. */
export function sealAnswer({ digest, sealingKey }: RetryKey, stored: StoredAnswer<unknown>): Buffer {
  const nonce = randomBytes(NONCE_BYTES)
  const cipher = createCipheriv(CIPHER, sealingKey, nonce).setAAD(digest)
  const sealed = Buffer.concat([cipher.update(JSON.stringify(stored)), cipher.final()])
  return Buffer.concat([nonce, sealed, cipher.getAuthTag()])
}

/** @throws Error when the answer was not encrypted with this key, or was changed since */
export function openAnswer<Answer>({ digest, sealingKey }: RetryKey, sealed: Buffer): StoredAnswer<Answer> {
  const nonce = sealed.subarray(0, NONCE_BYTES)
  const decipher = createDecipheriv(CIPHER, sealingKey, nonce, { authTagLength: TAG_BYTES })
    .setAAD(digest)
    .setAuthTag(sealed.subarray(-TAG_BYTES))
  const opened = Buffer.concat([decipher.update(sealed.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()])
  return JSON.parse(opened.toString())
}

/**
 * Returns a digest of a request, by which a retry with another body is noticed. Texts are compared as they were sent.
 *
 * @param request its operation, what it is about, and its body
 */
export function digestRequest(request: readonly unknown[]): string {
  return createHash('sha256').update(JSON.stringify(request, sortMembers)).digest('base64url')
}

/** Members of a JSON object have no order. */
function sortMembers(_name: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
}
