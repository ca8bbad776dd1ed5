import type { JWK } from 'jose'
import type { Kysely } from 'kysely'
import type { SigningAlgorithm } from '../config/config.ts'
import type { Sealing } from '../crypto/key-encryption.ts'
import { DatabaseUnavailable } from '../database/errors.ts'
import type { Database } from '../database/schema.ts'
import { DAY_MS, HOUR_MS } from '../time.ts'
import { generateNextKey, latestOf } from './next-key.ts'
import {
  addSigningKey,
  databaseTime,
  destroyRetiredKeys,
  listSigningKeys,
  reencryptSigningKey,
  type SigningKeyRow
} from './repository.ts'
import {
  cacheMs,
  isNextKeyDue,
  isRetired,
  type KeyTimes,
  type Known,
  publishedKeys,
  signingKey,
  successorFrom
} from './rotation.ts'
import { type OpenedKey, openSigningKey, reencrypt, type SigningKey, type VerificationKey } from './signing-key.ts'

export interface KeySet {
  /** The key that signs. @throws DatabaseUnavailable when the database has been away so long that others may have retired it */
  readonly active: SigningKey
  /** Returns the public halves of all keys that a verifier may need. */
  readonly published: () => Promise<readonly JWK[]>
  /**
   * Returns what verifies tokens with this `kid`. Undefined when no such key is published.
   *
   * @throws DatabaseUnavailable when this instance cannot decrypt that key, so that it cannot judge its tokens
   */
  readonly verificationKey: (kid: string) => VerificationKey | undefined
  /**
   * Reads the keys if this one is new to this instance: another instance may sign with it already. Calls share a reading
   * that began after each of them, so that however many come, one reading at a time is under way.
   *
   * @throws DatabaseUnavailable
   */
  readonly learn: (kid: string) => Promise<void>
  /** Returns how long they may be cached, seconds. */
  readonly cacheSeconds: () => number
}

/** A key set that follows the database. */
export interface RotatingKeySet extends KeySet {
  /** `kid` of the key that signs, if any. */
  readonly activeKid: string | undefined
  /** Its times, milliseconds since the epoch. */
  readonly activeTimes: ActiveTimes | undefined
  /**
   * Reads the keys, adds the next one when it is due, destroys retired ones, re-encrypts those of the previous
   * KEY_ENCRYPTION_KEY, and changes to the key that signs now. Call it every few seconds. Whatever fails, the active key
   * is one that may sign.
   *
   * @throws DatabaseUnavailable; Error that names KEY_ENCRYPTION_KEY when it does not decrypt a key
   */
  refresh(): Promise<void>
}

interface ActiveTimes extends Pick<KeyTimes, 'signsFrom' | 'signsUntil'> {
  /** From when the next key should sign; undefined when keys do not rotate. */
  successorFrom: number | undefined
}

export interface KeySetOptions {
  db: Kysely<Database>
  sealing: Sealing
  algorithm: SigningAlgorithm
  /** Days that a key signs; 0 for no end. */
  rotationDays: number
  /** Returns milliseconds since the epoch. */
  now: () => number
}

interface KnownKey extends KeyTimes {
  generation: number
  opened: OpenedKey | undefined
}

/** Instances with another KEY_ENCRYPTION_KEY may re-encrypt a key their way. They must not race. */
const REENCRYPTION_INTERVAL_MS = HOUR_MS
/** The database destroys a key an hour later than the rule retires it. */
const DESTROYED_AFTER_MS = HOUR_MS

/** Creates a key set that has read nothing yet. */
export function createKeySet(options: KeySetOptions): RotatingKeySet {
  return new DatabaseKeySet(options)
}

/**
 * The signing keys as this instance read them last. rotation.ts decides what that means. Each change of the table is one
 * statement, so that an instance may end at any step.
 */
class DatabaseKeySet implements RotatingKeySet {
  readonly #options: KeySetOptions
  #known: Known<KnownKey> = { keys: [], readAt: Number.NEGATIVE_INFINITY }
  #active: SigningKey | undefined
  #activeTimes: KnownKey | undefined
  #reencryptedAt = Number.NEGATIVE_INFINITY
  /** The reading that is under way, or the latest one. It never rejects. */
  #reading: Promise<unknown> = Promise.resolve()
  /** The reading that begins after it. */
  #nextReading: Promise<void> | undefined

  constructor(options: KeySetOptions) {
    this.#options = options
  }

  get active(): SigningKey {
    if (this.#active === undefined) throw new DatabaseUnavailable(new Error('no signing key can be relied on'))
    return this.#active
  }

  get activeKid(): string | undefined {
    return this.#active?.kid
  }

  get activeTimes(): ActiveTimes | undefined {
    const times = this.#activeTimes
    const rotationMs = this.#options.rotationDays * DAY_MS
    return times && { ...times, successorFrom: rotationMs > 0 ? successorFrom(times, rotationMs) : undefined }
  }

  readonly published = async (): Promise<readonly JWK[]> =>
    publishedKeys(this.#known, this.#options.now()).flatMap(({ opened }) => opened?.publicJwk ?? [])

  readonly verificationKey = (kid: string): VerificationKey | undefined => {
    const { keys } = this.#known
    const key = keys.find(known => known.kid === kid)
    if (key === undefined || isRetired(key, keys, this.#options.now())) return undefined
    if (key.opened === undefined) throw new DatabaseUnavailable(new Error(`the signing key ${kid} cannot be decrypted`))
    return key.opened.verificationKey
  }

  readonly learn = async (kid: string): Promise<void> => {
    if (!this.#known.keys.some(known => known.kid === kid)) await this.#read()
  }

  readonly cacheSeconds = (): number => Math.floor(cacheMs(this.#known, this.#options.now()) / 1_000)

  async refresh(): Promise<void> {
    const { db, now } = this.#options
    try {
      await this.#read()
      if (this.#isNextDue()) await this.#addNext()
      const { keys } = this.#known
      if (keys.some(key => isRetired(key, keys, now() - DESTROYED_AFTER_MS))) await destroyRetiredKeys(db, now())
      if (now() >= this.#reencryptedAt + REENCRYPTION_INTERVAL_MS) await this.#reencrypt()
    } finally {
      this.#chooseActive()
    }
    this.#assertAllDecrypted()
  }

  /** One at a time, so that an older reading never takes the place of a newer one. */
  #read(): Promise<void> {
    if (this.#nextReading !== undefined) return this.#nextReading
    const reading = this.#reading.then(() => {
      this.#nextReading = undefined
      return this.#readNow()
    })
    this.#nextReading = reading
    this.#reading = reading.catch(() => {})
    return reading
  }

  async #readNow(): Promise<void> {
    const readAt = this.#options.now()
    const rows = await listSigningKeys(this.#options.db)
    this.#known = { keys: await Promise.all(rows.map(row => this.#know(row))), readAt }
    // At once, because the other steps of a refresh may take their time.
    this.#chooseActive()
  }

  #chooseActive(): void {
    const { algorithm, now } = this.#options
    this.#activeTimes = signingKey(this.#known, algorithm, now())
    this.#active = this.#activeTimes?.opened?.signingKey
  }

  async #know(row: SigningKeyRow): Promise<KnownKey> {
    const before = this.#known.keys.find(({ kid }) => kid === row.kid)?.opened
    const isSame = before?.encrypted === row.private_jwe
    // A key that was decrypted once stays usable when others re-encrypt it with a KEY_ENCRYPTION_KEY that is unknown here.
    const opened = isSame ? before : ((await openSigningKey(this.#options.sealing, row)) ?? before)
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

  /** Only an instance that can decrypt the latest key can add the next. */
  #isNextDue(): boolean {
    const { algorithm, rotationDays, now } = this.#options
    const { keys } = this.#known
    return latestOf(keys)?.isUsable !== false && isNextKeyDue(keys, algorithm, rotationDays * DAY_MS, now())
  }

  async #addNext(): Promise<void> {
    const { db } = this.#options
    const decidedAt = await databaseTime(db)
    await this.#read()
    if (!this.#isNextDue()) return
    const { keys } = this.#known
    const key = await generateNextKey(this.#options, keys)
    await addSigningKey(db, key, latestOf(keys)?.opened?.proof, decidedAt)
    await this.#read()
  }

  async #reencrypt(): Promise<void> {
    const { db, sealing, now } = this.#options
    for (const { kid, opened } of this.#known.keys) {
      if (opened === undefined || opened.isCurrent) continue
      await reencryptSigningKey(db, kid, await reencrypt(sealing, opened.signingKey), opened.proof)
    }
    this.#reencryptedAt = now()
  }

  #assertAllDecrypted(): void {
    const kids = this.#known.keys.filter(key => !key.isUsable).map(({ kid }) => kid)
    if (kids.length === 0) return
    throw new Error(
      `KEY_ENCRYPTION_KEY does not decrypt the signing key ${kids.join(', ')} in the database: another one encrypted it. ` +
        'While KEY_ENCRYPTION_KEY is being changed, every instance needs both, the other one as KEY_ENCRYPTION_KEY_PREVIOUS'
    )
  }
}

/** When several instances add keys at once, one succeeds at each attempt. */
const MAX_ATTEMPTS = 20

/**
 * Loads the keys. Creates the first key where there is none, once over any number of instances.
 *
 * @throws Error when a key cannot be decrypted; DatabaseUnavailable
 */
export async function loadKeySet(options: KeySetOptions): Promise<RotatingKeySet> {
  const keySet = createKeySet(options)
  for (let attempt = 0; attempt < MAX_ATTEMPTS && keySet.activeKid === undefined; attempt++) {
    await refreshIfPossible(keySet)
  }
  if (keySet.activeKid === undefined) throw new Error(`there is no signing key for ${options.algorithm}`)
  return keySet
}

/** A read-only database is enough to start with, when it has a key. */
async function refreshIfPossible(keySet: RotatingKeySet): Promise<void> {
  try {
    await keySet.refresh()
  } catch (error) {
    if (!(error instanceof DatabaseUnavailable) || keySet.activeKid === undefined) throw error
  }
}
