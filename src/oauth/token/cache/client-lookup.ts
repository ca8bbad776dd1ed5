import type { Kysely } from 'kysely'
import { Batcher, BatcherFull } from '../../../concurrency/batcher.ts'
import { DatabaseUnavailable } from '../../../database/errors.ts'
import type { Database } from '../../../database/schema.ts'
import { type ClientRow, findClients, NO_MAC_KEY } from '../../../registrations/clients/repository.ts'
import type { ClientCache } from './client-cache.ts'

/** Look-ups that may wait for an answer of the database. The next one is refused. */
const MAX_WAITING = 10_000
/** A look-up nearby takes less than this. The next ones then wait for it and share a statement, also those of a flood. */
const LEAD_MS = 1

interface FoundClient {
  row: ClientRow
  /** False for a row of the cache, which stands in while the database is unavailable. */
  isFresh: boolean
}

/** Callbacks about look-ups and the availability of the database, for logs and metrics. */
export interface LookupWatch {
  /** Called for each client that is looked up, because its row is not cached or does not suffice. */
  lookedUp: () => void
  /** Called when look-ups begin to fail because the database is unavailable, and when one succeeds again. */
  awayChanged: (isAway: boolean) => void
  /** Called for each token that was issued by a cached row because the database was unavailable. */
  servedStale: () => void
}

interface LookupOptions {
  db: Kysely<Database>
  cache: ClientCache
  /** Reads MAC keys that are new to this process. */
  macKeys: { learn: (keyIds: Iterable<string>) => Promise<void> }
  /** How long after its latest exchange a client is served while the database is unavailable, milliseconds; 0 for never. */
  staleMs: number
  /** Milliseconds since the epoch. */
  now: () => number
  watch?: LookupWatch
}

/** Looks up clients, all that are asked for in one turn of the event loop in one statement. */
export class ClientLookup {
  readonly #options: LookupOptions
  readonly #batcher: Batcher<string, ClientRow>
  #isAway = false

  constructor(options: LookupOptions) {
    this.#options = options
    this.#batcher = new Batcher({
      maxWaiting: MAX_WAITING,
      leadMs: LEAD_MS,
      process: batch => this.#read([...batch.keys()])
    })
  }

  /**
   * Finds a client, in the cache while the database is unavailable. An unknown client id yields a decoy, which is not
   * registered.
   *
   * @throws DatabaseUnavailable when too many look-ups are waiting
   */
  async find(clientId: string): Promise<FoundClient> {
    this.#options.watch?.lookedUp()
    try {
      return { row: await this.#batcher.add(clientId, clientId), isFresh: true }
    } catch (error) {
      if (error instanceof BatcherFull) throw new DatabaseUnavailable(error, 'too many look-ups are waiting')
      if (!(error instanceof DatabaseUnavailable)) throw error
      return { row: this.#findStale(clientId), isFresh: false }
    }
  }

  /** Returns whether this client is served from the cache while the database is unavailable. */
  servesStale(clientId: string): boolean {
    return this.#findStale(clientId).is_registered
  }

  #findStale(clientId: string): ClientRow {
    const { cache, staleMs, now } = this.#options
    return cache.findRecent(clientId, now() - staleMs)
  }

  /** Notes that another statement was answered. Clients in the cache are revalidated, not looked up. */
  noteAnswer(): void {
    this.#setAway(false)
  }

  noteServedStale(): void {
    this.#options.watch?.servedStale()
  }

  async #read(clientIds: readonly string[]): Promise<(clientId: string) => ClientRow> {
    const { db, cache, macKeys } = this.#options
    try {
      const rows = await findClients(db, clientIds)
      await macKeys.learn(rows.flatMap(macKeyIdsOf))
      for (const row of rows) cache.refresh(row)
      this.#setAway(false)
      const found = new Map(rows.map(row => [row.client_id, row]))
      return clientId => {
        const row = found.get(clientId)
        if (row === undefined) throw new Error('the look-up left out a client')
        return row
      }
    } catch (error) {
      if (error instanceof DatabaseUnavailable) this.#setAway(true)
      throw error
    }
  }

  #setAway(isAway: boolean): void {
    if (isAway === this.#isAway) return
    this.#isAway = isAway
    this.#options.watch?.awayChanged(isAway)
  }
}

function macKeyIdsOf(row: ClientRow): string[] {
  return [row.secret_mac_key_id, row.previous_secret_mac_key_id].filter(keyId => keyId !== NO_MAC_KEY)
}
