import { hkdfSync } from 'node:crypto'
import { CompactEncrypt, compactDecrypt } from 'jose'

/**
 * All that is made of KEY_ENCRYPTION_KEY: a key for each purpose, and values sealed for the database.
 *
 * While that key changes there are two. The current one writes; KEY_ENCRYPTION_KEY_PREVIOUS only reads what it wrote.
 */
export class Sealing {
  readonly #current: Buffer
  readonly #previous: Buffer | undefined

  /** @param current 32 bytes, the same on every instance; @param previous likewise, where there is one */
  constructor(current: Buffer, previous?: Buffer) {
    this.#current = current
    this.#previous = previous
  }

  /** May there be values that are to be sealed anew? */
  get hasPrevious(): boolean {
    return this.#previous !== undefined
  }

  /** The keys of one purpose, 32 bytes each: the first makes and checks, the others check what they made before. */
  keys(purpose: string): [Buffer, ...Buffer[]] {
    const previous = this.#previous === undefined ? [] : [deriveKey(this.#previous, purpose)]
    return [deriveKey(this.#current, purpose), ...previous]
  }

  /** Seals a text (JWE: dir, A256GCM). @param binding what it belongs to: under another it does not open */
  seal(purpose: string, binding: string, text: string): Promise<string> {
    return new CompactEncrypt(Buffer.from(text))
      .setProtectedHeader({ alg: 'dir', enc: 'A256GCM', kid: binding })
      .encrypt(deriveKey(this.#current, purpose))
  }

  /** @returns undefined for what neither key has sealed for this purpose and binding */
  async open(purpose: string, binding: string, sealed: string): Promise<Opened | undefined> {
    for (const [index, key] of this.keys(purpose).entries()) {
      try {
        const { plaintext, protectedHeader } = await compactDecrypt(sealed, key, OPTIONS)
        if (protectedHeader.kid === binding) {
          return { text: Buffer.from(plaintext).toString(), isCurrent: index === 0 }
        }
      } catch {
        // Why it can't be opened is not more than that.
      }
    }
    return undefined
  }
}

export interface Opened {
  text: string
  /** False for what the previous key has sealed: seal it anew. */
  isCurrent: boolean
}

const OPTIONS = { keyManagementAlgorithms: ['dir'], contentEncryptionAlgorithms: ['A256GCM'] }

/** HKDF-SHA-256 (RFC 5869). */
function deriveKey(keyEncryptionKey: Buffer, purpose: string): Buffer {
  return Buffer.from(hkdfSync('sha256', keyEncryptionKey, '', `grantd ${purpose}`, 32))
}
