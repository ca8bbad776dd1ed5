import { createCipheriv, createDecipheriv, createHash, hkdfSync, randomBytes } from 'node:crypto'
import type { NewRegistration } from '../schemas.ts'

/** All that the answer to a create is made of. */
export interface MadeRegistration {
  input: NewRegistration
  clientId: string
  clientSecret: string
  /** Milliseconds since the epoch. */
  registeredAt: number
}

/** What one Idempotency-Key of one caller in one Site yields. Neither half tells anything of the other. */
export interface RetryKey {
  /** By which the sealed create is found. */
  digest: Buffer
  sealingKey: Buffer
}

const KEY_BYTES = 32
const NONCE_BYTES = 12
const TAG_BYTES = 16
const CIPHER = 'aes-256-gcm'

/**
 * Derives what is kept and what seals from a caller's key (HKDF-SHA-256, RFC 5869). With `pepper`, so that
 * a copy of the database alone does not let keys be guessed.
 *
 * @param pepper 32 bytes from KEY_ENCRYPTION_KEY, for this purpose alone
 * @param idempotencyKey as the caller sent it
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

/** Seals what was made (AES-256-GCM, random nonce), bound to the digest by which it is found. */
export function sealCreate({ digest, sealingKey }: RetryKey, made: MadeRegistration): Buffer {
  const nonce = randomBytes(NONCE_BYTES)
  const cipher = createCipheriv(CIPHER, sealingKey, nonce).setAAD(digest)
  const sealed = Buffer.concat([cipher.update(JSON.stringify(made)), cipher.final()])
  return Buffer.concat([nonce, sealed, cipher.getAuthTag()])
}

/** @throws Error when it was not sealed with this key, or has been changed */
export function openCreate({ digest, sealingKey }: RetryKey, sealed: Buffer): MadeRegistration {
  const nonce = sealed.subarray(0, NONCE_BYTES)
  const decipher = createDecipheriv(CIPHER, sealingKey, nonce, { authTagLength: TAG_BYTES })
    .setAAD(digest)
    .setAuthTag(sealed.subarray(-TAG_BYTES))
  const made = Buffer.concat([decipher.update(sealed.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()])
  return JSON.parse(made.toString())
}

/** Do both ask for the same registration? Texts are compared as they were sent, before they are read. */
export function isSameInput(one: NewRegistration, other: NewRegistration): boolean {
  return textOf(one) === textOf(other)
}

function textOf({ name, expiresAt, enabled, scopes }: NewRegistration): string {
  return JSON.stringify([name, expiresAt, enabled, scopes])
}
