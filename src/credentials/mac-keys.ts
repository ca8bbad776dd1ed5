import { randomBytes, randomUUID } from 'node:crypto'
import type { Kysely } from 'kysely'
import type { Sealing } from '../crypto/key-encryption.ts'
import { DatabaseUnavailable } from '../database/errors.ts'
import type { Database } from '../database/schema.ts'
import {
  deleteUnusedMacKey,
  type EncryptedMacKey,
  insertMacKey,
  listMacKeys,
  lockMacKeys,
  replaceEncryptedMacKey
} from './repository.ts'
import { deriveDigestKey, digestOf } from './secret-digest.ts'
import { macOf, type NewSecretMac, PresentedMacs } from './secret-mac.ts'

interface MacKeyOptions {
  db: Kysely<Database>
  sealing: Sealing
}

const PURPOSE = 'secret MACs'
const KEY_BYTES = 32

/**
 * The keys of the MACs by which secrets are verified.
 *
 * There is one key, made by the first start. Another one is made only when KEY_ENCRYPTION_KEY was lost, so that no key
 * can be decrypted. Then registrations have MACs under a key that is lost, until each has exchanged once.
 */
export class MacKeys {
  readonly #options: MacKeyOptions
  readonly #keys = new Map<string, Buffer>()
  /** For each of these keys the one that is derived from it for digests. */
  readonly #digestKeys = new Map<string, Buffer>()
  /** Ids of keys that this process cannot decrypt, and of keys that do not exist. */
  #lost = new Set<string>()
  #currentId = ''
  #reading: Promise<void> | undefined

  constructor(options: MacKeyOptions) {
    this.#options = options
  }

  /** Whether registrations may have MACs that cannot be verified because their key is lost. */
  get hasLostKeys(): boolean {
    return this.#lost.size > 0
  }

  /** Whether MACs can be computed and verified. */
  get isUsable(): boolean {
    return this.#keys.size > 0
  }

  isLost(keyId: string): boolean {
    return this.#lost.has(keyId)
  }

  /** Computes the MAC and the digest that are stored for a new secret. */
  create(clientId: string, secret: string): NewSecretMac {
    const keyId = this.#currentId
    const key = this.#keys.get(keyId)
    const digest = this.digest(keyId, secret)
    if (key === undefined || digest === undefined) throw new Error('no MAC key is loaded')
    return { keyId, mac: macOf(key, clientId, secret), digest }
  }

  /** Computes the digest of a secret whose MAC is under this key. Undefined when the key is lost. */
  digest(keyId: string, secret: string): Buffer | undefined {
    const key = this.#digestKeys.get(keyId)
    return key === undefined ? undefined : digestOf(key, secret)
  }

  /** Computes the digests that a secret may be stored with: one for each key. */
  digests(secret: string): Buffer[] {
    return [...this.#digestKeys.values()].map(key => digestOf(key, secret))
  }

  /** Prepares a presented secret for comparison with stored MACs. */
  present(clientId: string, secret: string): PresentedMacs {
    return new PresentedMacs(this.#keys, clientId, secret)
  }

  /** Reads the keys if one of these is new to this process: another instance has made it. @throws DatabaseUnavailable */
  async learn(keyIds: Iterable<string>): Promise<void> {
    for (const keyId of keyIds) {
      if (this.#keys.has(keyId) || this.#lost.has(keyId)) continue
      this.#reading ??= this.#read().finally(() => {
        this.#reading = undefined
      })
      await this.#reading
      if (!this.#keys.has(keyId)) this.#lost.add(keyId)
    }
  }

  /**
   * Reads the keys, makes one when none can be decrypted, re-encrypts those that KEY_ENCRYPTION_KEY_PREVIOUS encrypts,
   * and deletes lost keys under which no registration has a MAC any more.
   *
   * @throws DatabaseUnavailable
   */
  async refresh(): Promise<void> {
    const { db, sealing } = this.#options
    await this.#read()
    if (this.#keys.size === 0) await this.#makeFirst()
    for (const { key_id: keyId, encrypted_key: encrypted } of await listMacKeys(db)) {
      const key = this.#keys.get(keyId)
      const opened = key === undefined ? undefined : await sealing.open(PURPOSE, keyId, encrypted)
      if (key === undefined || opened === undefined || opened.isCurrent) continue
      await replaceEncryptedMacKey(db, keyId, encrypted, await this.#encrypt(keyId, key))
    }
    for (const keyId of [...this.#lost]) if (await deleteUnusedMacKey(db, keyId)) this.#lost.delete(keyId)
  }

  async #read(): Promise<void> {
    const rows = await listMacKeys(this.#options.db)
    for (const row of rows) await this.#decrypt(row)
    const usable = rows.find(({ key_id: keyId }) => this.#keys.has(keyId))
    if (usable !== undefined) this.#currentId = usable.key_id
  }

  /** A key that was decrypted once stays usable when another instance re-encrypts it under a newer KEY_ENCRYPTION_KEY. */
  async #decrypt({ key_id: keyId, encrypted_key: encrypted }: EncryptedMacKey): Promise<void> {
    if (this.#keys.has(keyId)) return
    const opened = await this.#options.sealing.open(PURPOSE, keyId, encrypted)
    if (opened === undefined) {
      this.#lost.add(keyId)
      return
    }
    this.#lost.delete(keyId)
    const key = Buffer.from(opened.text, 'base64url')
    this.#keys.set(keyId, key)
    this.#digestKeys.set(keyId, deriveDigestKey(key))
  }

  /** Once over all instances. */
  async #makeFirst(): Promise<void> {
    await this.#options.db.transaction().execute(async trx => {
      await lockMacKeys(trx)
      for (const row of await listMacKeys(trx)) await this.#decrypt(row)
      if (this.#keys.size > 0) return
      const keyId = randomUUID()
      await insertMacKey(trx, {
        key_id: keyId,
        encrypted_key: await this.#encrypt(keyId, randomBytes(KEY_BYTES))
      })
    })
    await this.#read()
  }

  #encrypt(keyId: string, key: Buffer): Promise<string> {
    return this.#options.sealing.seal(PURPOSE, keyId, key.toString('base64url'))
  }
}

/**
 * Loads the MAC keys, and makes the first one. A database that is read-only is good enough once there is a key.
 *
 * @throws DatabaseUnavailable
 */
export async function loadMacKeys(options: MacKeyOptions): Promise<MacKeys> {
  const keys = new MacKeys(options)
  try {
    await keys.refresh()
  } catch (error) {
    if (!(error instanceof DatabaseUnavailable) || !keys.isUsable) throw error
  }
  return keys
}
