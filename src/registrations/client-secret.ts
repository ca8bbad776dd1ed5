import { type Semaphore, SemaphoreFull } from '../concurrency/semaphore.ts'
import { checksumOf, createClientSecret, hashClientSecret } from '../credentials/secret.ts'
import { tooBusy } from './errors.ts'

export interface SecretOptions {
  /** Limits how many secrets are hashed at once. */
  hashing: Semaphore
  /** Start of every secret, by which scanners recognise one. */
  secretPrefix: string
}

export interface NewSecret {
  /** Exists in the answer only. */
  clientSecret: string
  hash: string
  checksum: string
}

/** Makes a secret and its hash. @throws Problem 503 when too many secrets wait to be hashed */
export async function makeSecret({ hashing, secretPrefix }: SecretOptions): Promise<NewSecret> {
  const clientSecret = createClientSecret(secretPrefix)
  try {
    const hash = await hashing.run(() => hashClientSecret(clientSecret))
    return { clientSecret, hash, checksum: checksumOf(clientSecret) }
  } catch (error) {
    throw error instanceof SemaphoreFull ? tooBusy() : error
  }
}
