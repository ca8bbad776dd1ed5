import { createHmac, hkdfSync } from 'node:crypto'

/** 128 bits: no two secrets share a digest by chance. A digest only finds a registration, and the MAC decides. */
const DIGEST_BYTES = 16
const KEY_BYTES = 32

/**
 * Derives the key of digests from a MAC key (HKDF-SHA-256, RFC 5869). So a digest and a MAC reveal nothing about each
 * other, and a digest is lost, restored and re-encrypted together with the MAC of its secret.
 */
export function deriveDigestKey(macKey: Buffer): Buffer {
  return Buffer.from(hkdfSync('sha256', macKey, '', 'grantd secret digests', KEY_BYTES))
}

/**
 * Computes the digest by which a secret finds its registration: HMAC-SHA-256, the first 16 bytes. A MAC cannot do that,
 * because it is bound to the client id, which the finder of a leaked secret need not know.
 */
export function digestOf(digestKey: Buffer, secret: string): Buffer {
  return createHmac('sha256', digestKey).update(secret).digest().subarray(0, DIGEST_BYTES)
}
