import { BoundedMap } from '../../../concurrency/bounded-map.ts'
import { type ClientRow, DECOY_ROW } from '../../../registrations/clients/repository.ts'
import { RowCompactor } from './compact-row.ts'

/** At most this many clients are cached, and at least half of them. 100,000 take about 60 MB. */
const MAX_CLIENTS = 200_000
/** Changes made by this process are remembered at least until the look-ups that were under way have ended. */
const MAX_CHANGES = 10_000

interface CachedClient {
  /** As it was read last. */
  row: ClientRow
  /** Latest exchange here, milliseconds since the epoch; NEVER for a client that has only introspected. */
  exchangedAt: number
  /** The generation in which the row was read. */
  generation: number
}

/** Before any exchange that the service may still know of. */
const NEVER = 0

/**
 * Caches the rows of clients that have exchanged or introspected here, so that a row need not be read again while it is unchanged. The
 * cache never decides: each exchange revalidates the row, unless the database is unavailable.
 */
export class ClientCache {
  readonly #clients = new BoundedMap<string, CachedClient>(MAX_CLIENTS)
  /** Versions that this process has made. An older row that was read meanwhile is not cached. */
  readonly #changes = new BoundedMap<string, number>(MAX_CHANGES)
  readonly #compactor = new RowCompactor()
  /** Rows of an earlier generation are not trusted: see `distrust`. */
  #generation = 0

  get size(): number {
    return this.#clients.size
  }

  /** Finds the row of a client. One that is not cached yields a decoy, so that a refusal takes as long for it. */
  find(clientId: string): ClientRow {
    const cached = this.#clients.get(clientId)
    return cached?.generation === this.#generation ? cached.row : DECOY_ROW
  }

  /**
   * Finds the row of a client for the time in which the database is unavailable, whether the row is trusted or not.
   *
   * @param exchangedAfter when it must have exchanged here, milliseconds since the epoch
   */
  findRecent(clientId: string, exchangedAfter: number): ClientRow {
    const cached = this.#clients.get(clientId)
    return cached !== undefined && cached.exchangedAt > exchangedAfter ? cached.row : DECOY_ROW
  }

  /**
   * Caches the row of a client that has authenticated, as a compact copy. A newer row stays.
   *
   * @param exchangedAt none for a client that has not exchanged: while the database is unavailable, it gets no token
   */
  keep(row: ClientRow, exchangedAt = NEVER): void {
    const { client_id: clientId, version } = row
    if (isEarly(row) || version < (this.#changes.get(clientId) ?? 0)) return
    const cached = this.#clients.get(clientId)
    if (cached !== undefined && this.#isNewer(cached, version)) return
    this.#set(row, Math.max(exchangedAt, cached?.exchangedAt ?? NEVER))
  }

  /** Notes another exchange with the same row. */
  touch(row: ClientRow, exchangedAt: number): void {
    const cached = this.#clients.get(row.client_id)
    if (cached?.row === row) cached.exchangedAt = exchangedAt
  }

  /** Replaces a cached row by one that was read now, if it can be exchanged with. A client that is not cached stays so. */
  refresh(row: ClientRow): void {
    const cached = this.#clients.get(row.client_id)
    if (cached === undefined) return
    if (!row.is_registered || isEarly(row)) this.#clients.delete(row.client_id)
    else if (!this.#isNewer(cached, row.version)) this.#set(row, cached.exchangedAt)
  }

  /** Forgets a row that the database no longer has. It must not stand in for a look-up that fails. */
  forget(row: ClientRow): void {
    if (this.#clients.get(row.client_id)?.row === row) this.#clients.delete(row.client_id)
  }

  /**
   * Requires that each row is read again before its version counts. When the database has lost commits, by a failover or a
   * restore, it uses a version number twice.
   */
  distrust(): void {
    this.#generation++
  }

  /** Forgets what is older than a change that this process has made. @param version Infinity for a deletion */
  noteChange(clientId: string, version: number): void {
    this.#changes.set(clientId, Math.max(version, this.#changes.get(clientId) ?? 0))
    const cached = this.#clients.get(clientId)
    if (cached !== undefined && cached.row.version < version) this.#clients.delete(clientId)
  }

  #isNewer({ row, generation }: CachedClient, version: number): boolean {
    return generation === this.#generation && row.version > version
  }

  #set(row: ClientRow, exchangedAt: number): void {
    const compact = this.#compactor.compact(row, this.#clients.get(row.client_id)?.row)
    this.#clients.set(compact.client_id, { row: compact, exchangedAt, generation: this.#generation })
  }
}

/**
 * Whether the cut-off of a row had not come when it was read. Such a row is not cached: each exchange of the client reads it
 * again, and waits for the cut-off. A client that is disabled gets no token anyway.
 */
function isEarly({ enabled, tokens_valid_in_ms }: ClientRow): boolean {
  return enabled && tokens_valid_in_ms > 0
}
