import { randomBytes } from 'node:crypto'
import path from 'node:path'
import { keepSecretFile } from './secret-file.ts'

const KEY_BYTES = 32

/** Returns the key that stands in for KEY_ENCRYPTION_KEY in development mode. Creates it in the data folder on first use. */
export async function developmentKeyEncryptionKey(dataFolder: string): Promise<Buffer> {
  const file = path.join(dataFolder, 'key-encryption-key')
  return Buffer.from(await keepSecretFile(file, async () => randomBytes(KEY_BYTES).toString('base64url')), 'base64url')
}
