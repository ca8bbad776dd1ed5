import { hkdfSync } from 'node:crypto'

/** A key for one purpose out of KEY_ENCRYPTION_KEY, 32 bytes (HKDF-SHA-256, RFC 5869). */
export function deriveKey(keyEncryptionKey: Buffer, purpose: string): Buffer {
  return Buffer.from(hkdfSync('sha256', keyEncryptionKey, '', `grantd ${purpose}`, 32))
}
