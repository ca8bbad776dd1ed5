import type { Kysely } from 'kysely'
import { DatabaseUnavailable } from '../../../database/errors.ts'
import type { Database } from '../../../database/schema.ts'
import { type Credential, findCredentials } from '../../../registrations/repository.ts'
import type { KnownClients } from './known-clients.ts'

/** Requests that may wait for one answer of the database; the next is told to come again. */
const MAX_WAITING = 10_000

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

interface CredentialsNeeds {
  db: Kysely<Database>
  known: KnownClients
  /** How long after an exchange what was read may serve while the database doesn't answer; 0 for never. */
  staleMs: number
  /** Milliseconds since the epoch. */
  now: () => number
}

type Waiting = Map<string, PromiseWithResolvers<Found>>

/**
 * Reads credentials: all that are asked for in one turn of the event loop in one statement.
 *
 * Only while the database doesn't answer does a client that exchanged a moment ago get what was read then.
 */
export class Credentials {
  readonly #needs: CredentialsNeeds
  #gathering: Waiting = new Map()
  #waiting = 0
  readonly #watch: CredentialsWatch
  #isAway = false

  constructor(needs: CredentialsNeeds, watch: CredentialsWatch = { awayChanged: () => {}, servedStale: () => {} }) {
    this.#needs = needs
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

  /** The database has answered otherwise: clients that memory knows are confirmed, not looked up. */
  noteAnswer(): void {
    this.#setAway(false)
  }

  async #read(): Promise<void> {
    const waiting = this.#gathering
    this.#gathering = new Map()
    try {
      const found = await findCredentials(this.#needs.db, [...waiting.keys()])
      this.#setAway(false)
      const credentials = new Map(found.map(credential => [credential.client_id, credential]))
      for (const [clientId, { resolve }] of waiting) {
        const credential = credentials.get(clientId)
        this.#needs.known.update(clientId, credential)
        resolve({ credential, isFresh: true })
      }
    } catch (error) {
      if (error instanceof DatabaseUnavailable) this.#setAway(true)
      this.#fallBack(waiting, error)
    }
    this.#waiting -= waiting.size
  }

  #fallBack(waiting: Waiting, error: unknown): void {
    const { known, staleMs, now } = this.#needs
    for (const [clientId, { resolve, reject }] of waiting) {
      const credential = known.exchangedSince(clientId, now() - staleMs)
      if (error instanceof DatabaseUnavailable && credential !== undefined) {
        this.#watch.servedStale()
        resolve({ credential, isFresh: false })
      } else reject(error)
    }
  }

  #setAway(isAway: boolean): void {
    if (isAway === this.#isAway) return
    this.#isAway = isAway
    this.#watch.awayChanged(isAway)
  }
}
