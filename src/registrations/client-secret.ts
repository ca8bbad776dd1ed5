import type { FairSemaphore } from '../concurrency/fair-semaphore.ts'
import { SemaphoreFull } from '../concurrency/semaphore.ts'
import { createClientSecret, createUnknownHash, hashClientSecret } from '../credentials/secret.ts'
import { hungUp, tooBusy } from './errors.ts'

export interface SecretOptions {
  /** Limits how many secrets are hashed at once. Each Site has a queue of its own. */
  hashing: FairSemaphore
  /** Start of every secret, by which scanners recognise one. */
  secretPrefix: string
}

export interface NewSecret {
  kind: 'secret'
  /** Exists in the answer only. */
  clientSecret: string
  hash: string
}

/**
 * Makes a secret and its hash.
 *
 * @param signal aborts when the caller hangs up, which frees its place in the queue
 * @throws Problem 503 when too many secrets of this Site, or of all Sites, wait to be hashed
 */
export async function makeSecret(
  { hashing, secretPrefix }: SecretOptions,
  siteId: string,
  signal: AbortSignal
): Promise<NewSecret> {
  const clientSecret = createClientSecret(secretPrefix)
  try {
    const hash = await hashing.run(siteId, () => hashClientSecret(clientSecret), signal)
    return { kind: 'secret', clientSecret, hash }
  } catch (error) {
    if (signal.aborted) throw hungUp()
    throw error instanceof SemaphoreFull ? tooBusy() : error
  }
}

/**
 * Makes a secret that nobody can know, for a registration that has none. It is stored like any other, so that the token
 * endpoint does the same work for it, and its hash is the hash of nothing.
 */
export function makeUnknownSecret(secretPrefix: string): NewSecret {
  return { kind: 'secret', clientSecret: createClientSecret(secretPrefix), hash: createUnknownHash() }
}
