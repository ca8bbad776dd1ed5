import type { SigningAlgorithm } from '../config/config.ts'
import type { Sealing } from '../crypto/key-encryption.ts'
import { DAY_MS } from '../time.ts'
import type { NewSigningKey } from './repository.ts'
import { nextKeyTimes } from './rotation.ts'
import { generateSigningKey } from './signing-key.ts'

interface NextKeyOptions {
  sealing: Sealing
  algorithm: SigningAlgorithm
  /** Days that a key signs; 0 for no end. */
  rotationDays: number
  /** Returns milliseconds since the epoch. */
  now: () => number
}

/** Generates the key that follows these. */
export function generateNextKey(
  { sealing, algorithm, rotationDays, now }: NextKeyOptions,
  keys: readonly { generation: number }[]
): Promise<NewSigningKey> {
  const generation = (latestOf(keys)?.generation ?? 0) + 1
  const times = nextKeyTimes(keys, rotationDays * DAY_MS, now())
  return generateSigningKey(sealing, algorithm, { generation, ...times }, now())
}

/** Returns the key of the latest generation. */
export function latestOf<Key extends { generation: number }>(keys: readonly Key[]): Key | undefined {
  return keys.toSorted((one, other) => other.generation - one.generation)[0]
}
