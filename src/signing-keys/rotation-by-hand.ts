import type { KeySetOptions } from './key-set.ts'
import { generateNextKey, latestOf } from './next-key.ts'
import { addSigningKey, databaseTime, destroyAllKeys, listSigningKeys, lockSigningKeys } from './repository.ts'
import { openSigningKey } from './signing-key.ts'

/** Instants are milliseconds since the epoch. */
export interface RotatedByHand {
  kid: string
  signsFrom: number
  /** `kid`s of the keys that were destroyed. */
  destroyed: string[]
}

/** Instances may add keys at the same time, each of them once. */
const MAX_ATTEMPTS = 20

/**
 * Adds the next key now, due or not. It is published now, and signs when every verifier has it.
 *
 * @throws Error when KEY_ENCRYPTION_KEY does not decrypt the latest key; DatabaseUnavailable
 */
export async function rotateNow(options: KeySetOptions): Promise<RotatedByHand> {
  const { db, sealing } = options
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
    const decidedAt = await databaseTime(db)
    const keys = await listSigningKeys(db)
    const latest = latestOf(keys)
    const opened = latest && (await openSigningKey(sealing, latest))
    if (latest !== undefined && opened === undefined) {
      throw new Error(`KEY_ENCRYPTION_KEY does not decrypt the signing key ${latest.kid}`)
    }
    const key = await generateNextKey(options, keys)
    const isAdded = await addSigningKey(db, key, opened?.proof, decidedAt)
    if (isAdded) return { kid: key.kid, signsFrom: key.signs_from.getTime(), destroyed: [] }
  }
  throw new Error('other instances add signing keys all the time. Try again')
}

/**
 * Destroys all keys, so that no token that they signed is valid any more. A new key signs at once. It does not need the
 * KEY_ENCRYPTION_KEY of the destroyed keys. Only the owner of the schema may do this.
 *
 * @throws DatabaseUnavailable
 */
export async function replaceCompromised(options: KeySetOptions): Promise<RotatedByHand> {
  return options.db.transaction().execute(async trx => {
    await lockSigningKeys(trx)
    const decidedAt = await databaseTime(trx)
    const destroyed = await destroyAllKeys(trx)
    const key = await generateNextKey(options, [])
    if (!(await addSigningKey(trx, key, undefined, decidedAt))) throw new Error('the database took too long. Try again')
    return { kid: key.kid, signsFrom: key.signs_from.getTime(), destroyed }
  })
}
