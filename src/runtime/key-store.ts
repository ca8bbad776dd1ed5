import { randomBytes } from 'node:crypto'
import path from 'node:path'
import type { Kysely } from 'kysely'
import type { Config } from '../config/config.ts'
import { Sealing } from '../crypto/key-encryption.ts'
import type { Database } from '../database/schema.ts'
import { keepSecretFile } from '../development/secret-file.ts'
import type { KeyStore } from '../signing-keys/key-set.ts'

/** What the doors need to load or rotate the signing keys. In development mode KEY_ENCRYPTION_KEY may be a file's. */
export async function openKeyStore(config: Config, db: Kysely<Database>): Promise<KeyStore> {
  const keyEncryptionKey = config.keyEncryptionKey ?? (await developmentKey(config.dataFolder))
  return {
    db,
    sealing: new Sealing(keyEncryptionKey, config.previousKeyEncryptionKey),
    algorithm: config.tokens.signingAlgorithm,
    rotationDays: config.keyRotationDays,
    now: Date.now
  }
}

async function developmentKey(dataFolder: string): Promise<Buffer> {
  const file = path.join(dataFolder, 'key-encryption-key')
  return Buffer.from(await keepSecretFile(file, async () => randomBytes(32).toString('base64url')), 'base64url')
}
