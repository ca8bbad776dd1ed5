import type { Kysely } from 'kysely'
import { Batcher } from '../../concurrency/batcher.ts'
import type { Database } from '../../database/schema.ts'
import { findUnchanged } from '../../registrations/clients/repository.ts'

/** Asks whether a registration still has the version that the cache holds. */
export interface VersionCheck {
  clientId: string
  version: number
  /** Number of the credential that the client presented. */
  credentialNumber: number
  /** Instant of the latest exchange that waits for this check, milliseconds since the epoch. */
  at: number
  /** Exchanges that wait for this check. */
  count: number
}

/** One statement that revalidates clients. app.ts decides which one. */
export interface Revalidation {
  /** Returns each client whose registration has that version, once or more. */
  findCurrent: (checks: readonly VersionCheck[]) => Promise<readonly { client_id: string; version: number }[]>
  /** Whether the statement also records that these clients exchanged at these instants. */
  recordsUse: boolean
  /**
   * Called with checks that the statement found current when their exchanges had stopped waiting for it. Each of these
   * exchanges is recorded again.
   */
  foundCurrentLate?: (checks: readonly VersionCheck[]) => void
}

/** Revalidates clients and records nothing. */
export function revalidateOnly(db: Kysely<Database>): Revalidation {
  return {
    findCurrent: checks =>
      findUnchanged(
        db,
        checks.map(({ clientId }) => clientId),
        checks.map(({ version }) => version)
      ),
    recordsUse: false
  }
}

/** `unavailable`: the database does not answer in time. */
export type Revalidated = 'current' | 'stale' | 'unavailable'

/**
 * The longest that revalidation may take, milliseconds. A slow write of Last used may delay a token by 50 ms; timers and
 * the look-up that follows need the rest.
 */
export const MAX_DELAY_MS = 40
/** While one batch travels to a distant database and back, the next is on its way. */
const MAX_CONCURRENT = 2
/** A commit nearby takes less than this. The next batch then waits for it and grows, which saves Postgres a commit. */
const LEAD_MS = 1

/** Revalidates clients that are in the cache, all that wait in one statement. */
export class Revalidator {
  readonly recordsUse: boolean
  readonly #batcher: Batcher<VersionCheck, boolean>

  constructor({ findCurrent, recordsUse, foundCurrentLate }: Revalidation, maxDelayMs = MAX_DELAY_MS) {
    this.recordsUse = recordsUse
    this.#batcher = new Batcher({
      maxConcurrent: MAX_CONCURRENT,
      leadMs: LEAD_MS,
      maxMs: maxDelayMs,
      merge: (gathered, added) => ({
        ...(gathered.at < added.at ? added : gathered),
        count: gathered.count + added.count
      }),
      process: async checks => {
        const current = await findCurrent([...checks.values()])
        const versions = new Map(current.map(({ client_id, version }) => [client_id, version]))
        return key => {
          const check = checks.get(key)
          return check !== undefined && versions.get(check.clientId) === check.version
        }
      },
      onLate: (checks, isCurrent) => {
        foundCurrentLate?.([...checks].filter(([key]) => isCurrent(key)).map(([, check]) => check))
      }
    })
  }

  async revalidate(check: VersionCheck): Promise<Revalidated> {
    // Checks of two versions or two credentials of one client are different checks, each with its own result.
    const key = `${check.clientId} ${check.version} ${check.credentialNumber}`
    try {
      return (await this.#batcher.add(key, check)) ? 'current' : 'stale'
    } catch {
      // The look-up that follows meets the same trouble, if it lasts, and reports it.
      return 'unavailable'
    }
  }
}
