import { DAY_MS, type KeyStore, nextGeneration } from './key-set.ts'
import { databaseTime, destroyOtherKeys, insertSigningKey, listSigningKeys, type NewSigningKey } from './repository.ts'
import { nextKeyTimes } from './rotation.ts'
import { generateSigningKey } from './signing-key.ts'

/** What was done; instants in milliseconds since the epoch. */
export interface RotatedByHand {
  kid: string
  signsFrom: number
  /** `kid`s of the keys that are no more. */
  destroyed: string[]
}

/** Instances may make keys at the same time; each of them once. */
const TRIES = 20

/** Makes the next key now, due or not. It is published now, and signs when everybody has it. */
export function rotateNow(store: KeyStore): Promise<RotatedByHand> {
  return retried(async () => {
    const decidedAt = await databaseTime(store.db)
    const row = await nextKey(store, false)
    const isAdded = await insertSigningKey(store.db, row, decidedAt)
    return isAdded ? { kid: row.kid, signsFrom: row.signs_from.getTime(), destroyed: [] } : undefined
  })
}

/**
 * Destroys all keys that exist, with the tokens they have signed; a new one signs at once.
 * Needs more than the serving role.
 */
export function replaceCompromised(store: KeyStore): Promise<RotatedByHand> {
  return retried(async () => {
    const decidedAt = await databaseTime(store.db)
    const row = await nextKey(store, true)
    return store.db.transaction().execute(async trx => {
      if (!(await insertSigningKey(trx, row, decidedAt))) return undefined
      const destroyed = await destroyOtherKeys(trx, row.kid)
      return { kid: row.kid, signsFrom: row.signs_from.getTime(), destroyed }
    })
  })
}

async function nextKey(
  { db, sealing, algorithm, rotationDays, now }: KeyStore,
  isAtOnce: boolean
): Promise<NewSigningKey> {
  const keys = await listSigningKeys(db)
  const times = nextKeyTimes(isAtOnce ? [] : keys, rotationDays * DAY_MS, now())
  const place = { generation: nextGeneration(keys), ...times }
  return generateSigningKey(sealing, algorithm, place, now())
}

async function retried(make: () => Promise<RotatedByHand | undefined>): Promise<RotatedByHand> {
  for (let tries = 0; tries < TRIES; tries++) {
    const made = await make()
    if (made !== undefined) return made
  }
  throw new Error('other instances are making keys all the time; try again')
}
