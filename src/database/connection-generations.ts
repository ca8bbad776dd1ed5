import pg from 'pg'
import { DatabaseUnavailable, isConnectionLost } from './errors.ts'
import type { PrimaryLocator } from './primary-locator.ts'
import { streamOf } from './query-timeout.ts'

/**
 * Knows which connections of a pool are current. A generation ends when one of its connections is lost without a
 * message from the server, and when writes have moved to another server. Older connections are closed instead of handed
 * out: when a machine is gone, its idle connections do not notice, and each would cost a caller a time-out.
 */
export class ConnectionGenerations {
  /** Connects to the primary of the moment in which it is created. */
  readonly Client: new () => pg.Client
  readonly #locator: PrimaryLocator
  readonly #failoversBefore = new WeakMap<pg.ClientBase, number>()
  readonly #lossesBefore = new WeakMap<pg.ClientBase, number>()
  #losses = 0

  constructor(locator: PrimaryLocator) {
    this.#locator = locator
    const created = (client: pg.Client) => this.#failoversBefore.set(client, locator.generation)
    this.Client = class extends pg.Client {
      constructor(options?: pg.ClientConfig) {
        super({ ...options, connectionString: locator.current })
        created(this)
      }
    }
  }

  /** Notes that a connection has just been answered, so that earlier losses say nothing about it. */
  markConnected(client: pg.ClientBase): void {
    this.#lossesBefore.set(client, this.#losses)
  }

  /** Takes a current connection, to the primary, from the pool. */
  checkOut(pool: pg.Pool): Promise<pg.PoolClient> {
    return this.#locator.connectToPrimary(async () => {
      for (;;) {
        const client = await pool.connect()
        if (this.#isCurrent(client)) return client
        client.release(true)
        // The other side may be gone, and would never confirm the end.
        streamOf(client).destroy()
      }
    })
  }

  /** Notes that a statement failed. @returns whether the connection is lost */
  noteFailure(error: unknown, client: pg.ClientBase): boolean {
    const isUnannounced = !(error instanceof pg.DatabaseError || error instanceof DatabaseUnavailable)
    // Of many connections that are lost together, the first one ends the generation.
    if (isUnannounced && this.#isCurrent(client)) this.#losses++
    this.#locator.noteFailure(error, this.#failoversBefore.get(client) ?? -1)
    return isConnectionLost(error)
  }

  #isCurrent(client: pg.ClientBase): boolean {
    return (
      this.#lossesBefore.get(client) === this.#losses && this.#failoversBefore.get(client) === this.#locator.generation
    )
  }
}
