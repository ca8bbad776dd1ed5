import type { Kysely } from 'kysely'
import type { Config } from '../config/config.ts'
import { Sealing } from '../crypto/key-encryption.ts'
import type { Database } from '../database/schema.ts'
import { developmentKeyEncryptionKey } from '../development/key-encryption-key.ts'
import type { KeySetOptions } from '../signing-keys/key-set.ts'

/** Returns what it takes to load or rotate the signing keys. In development mode KEY_ENCRYPTION_KEY may be a file. */
export async function keySetOptions(config: Config, db: Kysely<Database>): Promise<KeySetOptions> {
  const keyEncryptionKey = config.keyEncryptionKey ?? (await developmentKeyEncryptionKey(config.dataFolder))
  return {
    db,
    sealing: new Sealing(keyEncryptionKey, config.previousKeyEncryptionKey),
    algorithm: config.tokens.signingAlgorithm,
    rotationDays: config.keyRotationDays,
    now: Date.now
  }
}
