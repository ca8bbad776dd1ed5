import type { Kysely } from 'kysely'
import { Batcher, BatcherFull } from '../../concurrency/batcher.ts'
import { DatabaseUnavailable } from '../../database/errors.ts'
import type { Database } from '../../database/schema.ts'
import { findStandings } from './repository.ts'
import type { Standing } from './standing.ts'

/** Readings that may wait for an answer of the database. The next one is refused. */
const MAX_WAITING = 10_000
/** A reading nearby takes less than this. The next ones then wait for it and share a statement. */
const LEAD_MS = 1

/**
 * Reads the standing of registrations, all that are asked for in one turn of the event loop in one statement. Nothing is
 * cached. Many tokens of one client are one row.
 */
export class Standings {
  readonly #batcher: Batcher<string, Standing | undefined>

  constructor(db: Kysely<Database>) {
    this.#batcher = new Batcher({
      maxWaiting: MAX_WAITING,
      leadMs: LEAD_MS,
      process: async batch => {
        const standings = await findStandings(db, [...batch.keys()])
        const found = new Map(standings.map(standing => [standing.client_id, standing]))
        return clientId => found.get(clientId)
      }
    })
  }

  /**
   * Returns the standing of each of these clients, in their order; undefined for one that does not exist.
   *
   * @throws DatabaseUnavailable, also when too many readings are waiting
   */
  async find(...clientIds: readonly string[]): Promise<(Standing | undefined)[]> {
    try {
      return await Promise.all(clientIds.map(clientId => this.#batcher.add(clientId, clientId)))
    } catch (error) {
      throw error instanceof BatcherFull ? new DatabaseUnavailable(error, 'too many readings are waiting') : error
    }
  }
}
