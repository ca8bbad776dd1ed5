import { hkdfSync } from 'node:crypto'
import { CompactEncrypt, compactDecrypt } from 'jose'

/**
 * Derives a key for each purpose from KEY_ENCRYPTION_KEY, and encrypts values for the database.
 *
 * While KEY_ENCRYPTION_KEY changes there are two. The current one encrypts. KEY_ENCRYPTION_KEY_PREVIOUS only decrypts.
 */
export class Sealing {
  readonly #current: Buffer
  readonly #previous: Buffer | undefined

  /** @param current 32 bytes, the same on every instance; @param previous likewise, where there is one */
  constructor(current: Buffer, previous?: Buffer) {
    this.#current = current
    this.#previous = previous
  }

  /** Whether there may be values to re-encrypt. */
  get hasPrevious(): boolean {
    return this.#previous !== undefined
  }

  /** Returns the keys of one purpose, 32 bytes each. The first one creates and verifies, the others only verify. */
  keys(purpose: string): [Buffer, ...Buffer[]] {
    const previous = this.#previous === undefined ? [] : [deriveKey(this.#previous, purpose)]
    return [deriveKey(this.#current, purpose), ...previous]
  }

  /** Encrypts a text (JWE: dir, A256GCM). @param binding what it belongs to. It does not decrypt under another one */
  seal(purpose: string, binding: string, text: string): Promise<string> {
    return new CompactEncrypt(Buffer.from(text))
      .setProtectedHeader({ alg: 'dir', enc: 'A256GCM', kid: binding })
      .encrypt(deriveKey(this.#current, purpose))
  }

  /** Decrypts a text. Returns undefined when neither key encrypted it for this purpose and binding. */
  async open(purpose: string, binding: string, sealed: string): Promise<Opened | undefined> {
    for (const [index, key] of this.keys(purpose).entries()) {
      try {
        const { plaintext, protectedHeader } = await compactDecrypt(sealed, key, OPTIONS)
        if (protectedHeader.kid === binding) {
          return { text: Buffer.from(plaintext).toString(), isCurrent: index === 0 }
        }
      } catch {
        // The reason says no more than that this key did not encrypt it.
      }
    }
    return undefined
  }
}

export interface Opened {
  text: string
  /** False when the previous key encrypted it, so that it needs to be re-encrypted. */
  isCurrent: boolean
}

const OPTIONS = { keyManagementAlgorithms: ['dir'], contentEncryptionAlgorithms: ['A256GCM'] }

/** HKDF-SHA-256 (RFC 5869). */
function deriveKey(keyEncryptionKey: Buffer, purpose: string): Buffer {
  return Buffer.from(hkdfSync('sha256', keyEncryptionKey, '', `grantd ${purpose}`, 32))
}
