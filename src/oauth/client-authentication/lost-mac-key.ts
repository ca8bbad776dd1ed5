import { randomUUID } from 'node:crypto'
import type { Kysely } from 'kysely'
import { type Semaphore, SemaphoreFull } from '../../concurrency/semaphore.ts'
import type { MacKeys } from '../../credentials/mac-keys.ts'
import { hashClientSecret, verifyClientSecret } from '../../credentials/secret.ts'
import type { Database } from '../../database/schema.ts'
import { findSecretHashes, replaceLostMac, type SecretHashes } from '../../registrations/clients/repository.ts'
import { temporarilyUnavailable } from '../oauth-error.ts'

interface LostMacKeyOptions {
  db: Kysely<Database>
  macKeys: MacKeys
  /** Limits how many secrets are verified by their hash at once. */
  hashing: Semaphore
}

/**
 * Recovers from the loss of KEY_ENCRYPTION_KEY, and of the MAC key with it: verifies a secret by its Argon2id hash and
 * stores its MAC under the new key.
 *
 * Until every client has exchanged once, each wrong secret costs the same Argon2 work for every client id, known or not,
 * restored or not.
 */
export class LostMacKeyRecovery {
  readonly #options: LostMacKeyOptions
  /** Verified in place of a hash that does not exist. */
  #decoy: Promise<string> | undefined

  constructor(options: LostMacKeyOptions) {
    this.#options = options
  }

  /** Whether some client's MAC may be under a lost key. */
  get isUnderWay(): boolean {
    return this.#options.macKeys.hasLostKeys
  }

  /**
   * Restores the MAC of a secret, if it is one of the client's secrets whose MAC key is lost.
   *
   * @returns whether it was restored, so that the client's row is worth another look-up
   * @throws OAuthError 503 when too many verifications wait; DatabaseUnavailable
   */
  async restoreMac(clientId: string, secret: string): Promise<boolean> {
    const { db, macKeys } = this.#options
    const hashes = await findSecretHashes(db, clientId)
    const column = await this.#verify(secret, hashes)
    if (column === undefined || hashes === undefined) return false
    const hash = hashes[`${column}_hash`]
    const keyId = hashes[`${column}_mac_key_id`]
    if (hash === null || keyId === null || !macKeys.isLost(keyId)) return false
    await replaceLostMac(db, clientId, column, { hash, keyId }, macKeys.create(clientId, secret))
    return true
  }

  async #verify(secret: string, hashes: SecretHashes | undefined): Promise<'secret' | 'previous_secret' | undefined> {
    try {
      return await this.#options.hashing.run(async () => {
        this.#decoy ??= hashClientSecret(randomUUID())
        const decoy = await this.#decoy
        if (await verifyClientSecret(secret, hashes?.secret_hash ?? decoy)) return 'secret'
        const isPrevious = await verifyClientSecret(secret, hashes?.previous_secret_hash ?? decoy)
        return isPrevious ? 'previous_secret' : undefined
      })
    } catch (error) {
      throw error instanceof SemaphoreFull ? temporarilyUnavailable('hashing_overloaded') : error
    }
  }
}
