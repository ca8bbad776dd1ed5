import type { Kysely } from 'kysely'
import { DatabaseUnavailable } from '../database/errors.ts'
import type { Database } from '../database/schema.ts'
import { type Credential, findCredentials } from '../registrations/repository.ts'

/** Requests that may wait for one answer of the database; the next is told to come again. */
const MAX_WAITING = 10_000
/** Clients whose last known credential is kept; the one that was exchanged longest ago makes room. */
const MAX_KNOWN = 100_000

/** What a look-up found. */
export interface Found {
  credential: Credential | undefined
  /** Read just now, not remembered. */
  isFresh: boolean
}

/** Hears of the database's absence as look-ups meet it. */
export interface CredentialsWatch {
  /** Called once when look-ups begin to fail for want of the database, and once when one succeeds again. */
  awayChanged: (isAway: boolean) => void
  /** Called for each look-up that memory answered. */
  servedStale: () => void
}

type Waiting = Map<string, PromiseWithResolvers<Found>>

/**
 * Reads credentials for every exchange: all that are asked for in one turn of the event loop in one statement.
 *
 * Only while the database doesn't answer does a client that exchanged a moment ago get what was read then.
 */
export class Credentials {
  readonly #db: Kysely<Database>
  readonly #staleMs: number
  readonly #now: () => number
  readonly #known = new Map<string, { credential: Credential; exchangedAt: number }>()
  #gathering: Waiting = new Map()
  #waiting = 0
  readonly #watch: CredentialsWatch
  #isAway = false

  /** @param staleMs how old what was read may be while the database doesn't answer; 0 for never */
  constructor(
    { db, staleMs, now }: { db: Kysely<Database>; staleMs: number; now: () => number },
    watch: CredentialsWatch = { awayChanged: () => {}, servedStale: () => {} }
  ) {
    this.#db = db
    this.#staleMs = staleMs
    this.#now = now
    this.#watch = watch
  }

  /** @throws DatabaseUnavailable */
  find(clientId: string): Promise<Found> {
    const waiting = this.#gathering.get(clientId)
    if (waiting !== undefined) return waiting.promise
    if (this.#waiting >= MAX_WAITING) throw new DatabaseUnavailable('too many look-ups are waiting')
    if (this.#gathering.size === 0) setImmediate(() => void this.#read())
    const deferred = Promise.withResolvers<Found>()
    this.#gathering.set(clientId, deferred)
    this.#waiting++
    return deferred.promise
  }

  /** Keeps the freshly found credential of a client that exchanged at this instant. */
  remember(credential: Credential, exchangedAt: number): void {
    if (this.#staleMs === 0) return
    this.#known.delete(credential.client_id)
    this.#known.set(credential.client_id, { credential, exchangedAt })
    if (this.#known.size <= MAX_KNOWN) return
    const [oldest] = this.#known.keys()
    if (oldest !== undefined) this.#known.delete(oldest)
  }

  async #read(): Promise<void> {
    const waiting = this.#gathering
    this.#gathering = new Map()
    try {
      const found = await findCredentials(this.#db, [...waiting.keys()])
      this.#setAway(false)
      const credentials = new Map(found.map(credential => [credential.client_id, credential]))
      for (const [clientId, { resolve }] of waiting) {
        const credential = credentials.get(clientId)
        this.#update(clientId, credential)
        resolve({ credential, isFresh: true })
      }
    } catch (error) {
      if (error instanceof DatabaseUnavailable) this.#setAway(true)
      this.#fallBack(waiting, error)
    }
    this.#waiting -= waiting.size
  }

  /** Nothing older than the latest read is remembered: a client that was found disabled stays so. */
  #update(clientId: string, credential: Credential | undefined): void {
    const known = this.#known.get(clientId)
    if (known === undefined) return
    if (credential === undefined) this.#known.delete(clientId)
    else known.credential = credential
  }

  #fallBack(waiting: Waiting, error: unknown): void {
    const oldest = this.#now() - this.#staleMs
    for (const [clientId, { resolve, reject }] of waiting) {
      const known = this.#known.get(clientId)
      const isServed = error instanceof DatabaseUnavailable && known !== undefined && known.exchangedAt > oldest
      if (isServed) {
        this.#watch.servedStale()
        resolve({ credential: known.credential, isFresh: false })
      } else reject(error)
    }
  }

  #setAway(isAway: boolean): void {
    if (isAway === this.#isAway) return
    this.#isAway = isAway
    this.#watch.awayChanged(isAway)
  }
}
