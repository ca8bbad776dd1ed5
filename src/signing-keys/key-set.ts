import type { JWK } from 'jose'
import type { Kysely } from 'kysely'
import type { SigningAlgorithm } from '../config/config.ts'
import type { Sealing } from '../crypto/key-encryption.ts'
import { DatabaseUnavailable } from '../database/errors.ts'
import type { Database } from '../database/schema.ts'
import {
  databaseTime,
  destroyRetiredKeys,
  insertSigningKey,
  listSigningKeys,
  replaceSeal,
  type SigningKeyRow
} from './repository.ts'
import {
  cacheMs,
  isNextKeyDue,
  isRetired,
  type KeyTimes,
  type Known,
  nextKeyTimes,
  publishedKeys,
  signingKey
} from './rotation.ts'
import { generateSigningKey, type OpenedKey, openSigningKey, type SigningKey, sealAnew } from './signing-key.ts'

export interface KeySet {
  /** Signs here. @throws DatabaseUnavailable when the database has been away for so long that others may have retired it */
  readonly active: SigningKey
  /** The public halves of all keys that a verifier may need. */
  readonly published: () => Promise<readonly JWK[]>
  /** How long they may be kept, seconds. */
  readonly cacheSeconds: () => number
}

/** A key set that somebody tends. */
export interface TendedKeySet extends KeySet {
  /** `kid` of the key that signs, if any. */
  readonly activeKid: string | undefined
  /** Its time, milliseconds since the epoch. */
  readonly activeTimes: Pick<KeyTimes, 'signsFrom' | 'signsUntil'> | undefined
  /**
   * Reads the keys, makes the next one when it is due, destroys what is retired, seals anew, and turns to the key that
   * signs now. Call it every few seconds. Whatever fails, the key that signs is one that may.
   *
   * @throws DatabaseUnavailable; Error that names KEY_ENCRYPTION_KEY when it doesn't open a key
   */
  tend(): Promise<void>
}

export interface KeyStore {
  db: Kysely<Database>
  sealing: Sealing
  algorithm: SigningAlgorithm
  /** Days that a key signs; 0 for no end. */
  rotationDays: number
  /** Milliseconds since the epoch. */
  now: () => number
}

interface KnownKey extends KeyTimes {
  generation: number
  opened: OpenedKey | undefined
}

export const DAY_MS = 86_400_000
/** Instances with another KEY_ENCRYPTION_KEY may seal it their way again: no race of seals. */
const SEAL_INTERVAL_MS = 3_600_000
/** The database's own rule is slower by that. */
const DESTROYED_AFTER_MS = 3_600_000

/**
 * The signing keys of this instance. What it knows is what it last read; what that means is decided in rotation.ts.
 * Each change to the table is one statement, so that an instance may end at any step.
 */
export class RotatingKeySet implements TendedKeySet {
  readonly #store: KeyStore
  #known: Known<KnownKey> = { keys: [], readAt: Number.NEGATIVE_INFINITY }
  #active: SigningKey | undefined
  #activeTimes: KnownKey | undefined
  #sealedAt = Number.NEGATIVE_INFINITY

  constructor(store: KeyStore) {
    this.#store = store
  }

  get active(): SigningKey {
    if (this.#active === undefined) throw new DatabaseUnavailable(new Error('no signing key can be relied on'))
    return this.#active
  }

  get activeKid(): string | undefined {
    return this.#active?.kid
  }

  get activeTimes(): KeyTimes | undefined {
    return this.#activeTimes
  }

  readonly published = async (): Promise<readonly JWK[]> =>
    publishedKeys(this.#known, this.#store.now()).flatMap(({ opened }) => opened?.publicJwk ?? [])

  readonly cacheSeconds = (): number => Math.floor(cacheMs(this.#known, this.#store.now()) / 1_000)

  async tend(): Promise<void> {
    const { db, now } = this.#store
    try {
      await this.#read()
      if (this.#isNextDue()) await this.#makeNext()
      const { keys } = this.#known
      if (keys.some(key => isRetired(key, keys, now() - DESTROYED_AFTER_MS))) await destroyRetiredKeys(db, now())
      if (now() >= this.#sealedAt + SEAL_INTERVAL_MS) await this.#sealAnew()
    } finally {
      this.#settle()
    }
    this.#tellUnopened()
  }

  async #read(): Promise<void> {
    const readAt = this.#store.now()
    const rows = await listSigningKeys(this.#store.db)
    this.#known = { keys: await Promise.all(rows.map(row => this.#know(row))), readAt }
    // At once: what else there is to tend may take its time.
    this.#settle()
  }

  #settle(): void {
    const { algorithm, now } = this.#store
    this.#activeTimes = signingKey(this.#known, algorithm, now())
    this.#active = this.#activeTimes?.opened?.signingKey
  }

  async #know(row: SigningKeyRow): Promise<KnownKey> {
    const before = this.#known.keys.find(({ kid }) => kid === row.kid)?.opened
    const isSame = before?.sealed === row.private_jwe
    // One that was opened once stays so when others seal it with a KEY_ENCRYPTION_KEY that is unknown here.
    const opened = isSame ? before : ((await openSigningKey(this.#store.sealing, row)) ?? before)
    return {
      kid: row.kid,
      algorithm: row.algorithm,
      signsFrom: row.signs_from.getTime(),
      signsUntil: row.signs_until.getTime(),
      isUsable: opened !== undefined,
      generation: row.generation,
      opened
    }
  }

  #isNextDue(): boolean {
    const { algorithm, rotationDays, now } = this.#store
    return isNextKeyDue(this.#known.keys, algorithm, rotationDays * DAY_MS, now())
  }

  async #makeNext(): Promise<void> {
    const { db, sealing, algorithm, rotationDays, now } = this.#store
    const decidedAt = await databaseTime(db)
    await this.#read()
    if (!this.#isNextDue()) return
    const times = nextKeyTimes(this.#known.keys, rotationDays * DAY_MS, now())
    const place = { generation: nextGeneration(this.#known.keys), ...times }
    await insertSigningKey(db, await generateSigningKey(sealing, algorithm, place, now()), decidedAt)
    await this.#read()
  }

  async #sealAnew(): Promise<void> {
    const { db, sealing, now } = this.#store
    for (const { kid, opened } of this.#known.keys) {
      if (opened === undefined || opened.isCurrent) continue
      await replaceSeal(db, kid, opened.sealed, await sealAnew(sealing, opened.signingKey))
    }
    this.#sealedAt = now()
  }

  #tellUnopened(): void {
    const kids = this.#known.keys.filter(key => !key.isUsable).map(({ kid }) => kid)
    if (kids.length === 0) return
    throw new Error(
      `KEY_ENCRYPTION_KEY does not open the signing key ${kids.join(', ')} in the database: it was sealed with another. ` +
        'While that one is being changed, every instance needs both, the other one as KEY_ENCRYPTION_KEY_PREVIOUS'
    )
  }
}

/** Of instances that make keys at once one is first at each try; so many may be before this one. */
const TRIES = 20

/**
 * Loads the keys, and makes the first one where there is none: once, over any number of instances.
 *
 * @throws Error when a key can't be opened; DatabaseUnavailable
 */
export async function loadKeySet(store: KeyStore): Promise<TendedKeySet> {
  const keySet = new RotatingKeySet(store)
  for (let tries = 0; tries < TRIES && keySet.activeKid === undefined; tries++) await tendIfPossible(keySet)
  if (keySet.activeKid === undefined) throw new Error(`no signing key for ${store.algorithm}`)
  return keySet
}

/** A database that only reads is good enough to start on, where it has a key. */
async function tendIfPossible(keySet: TendedKeySet): Promise<void> {
  try {
    await keySet.tend()
  } catch (error) {
    if (!(error instanceof DatabaseUnavailable) || keySet.activeKid === undefined) throw error
  }
}

/** The place of a key that follows these. */
export function nextGeneration(keys: readonly { generation: number }[]): number {
  return Math.max(0, ...keys.map(({ generation }) => generation)) + 1
}
