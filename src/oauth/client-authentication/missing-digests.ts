import type { Kysely } from 'kysely'
import { Batcher } from '../../concurrency/batcher.ts'
import type { MacKeys } from '../../credentials/mac-keys.ts'
import type { Database } from '../../database/schema.ts'
import { addMissingDigests, type MissingDigest } from '../../registrations/clients/repository.ts'
import type { MatchedClient } from './credential-proof.ts'
import type { PresentedCredential } from './presented-client.ts'

/** Digests that may wait. The next look-up of a client that is left out finds its digest missing again. */
const MAX_WAITING = 10_000

interface MissingDigestsOptions {
  db: Kysely<Database>
  macKeys: Pick<MacKeys, 'digest'>
}

/**
 * Adds the digests that secrets of release 0.2.0 lack, when their client presents them. Nobody waits for it, and a client
 * that is in the cache costs nothing.
 */
export class MissingDigests {
  readonly #macKeys: MissingDigestsOptions['macKeys']
  readonly #batcher: Batcher<MissingDigest, void>

  constructor({ db, macKeys }: MissingDigestsOptions) {
    this.#macKeys = macKeys
    this.#batcher = new Batcher({
      maxConcurrent: 1,
      maxWaiting: MAX_WAITING,
      process: async missing => {
        await addMissingDigests(db, [...missing.values()])
        return () => {}
      }
    })
  }

  /** Adds the digest of the credential that a client has proved, if it is missing. It never fails. */
  note({ row, credential }: MatchedClient, presented: PresentedCredential): void {
    const isCurrent = credential === 'current'
    if (presented.kind !== 'secret' || !(isCurrent ? row.lacks_digest : row.previous_lacks_digest)) return
    const mac = isCurrent ? row.secret_mac : row.previous_secret_mac
    const digest = this.#macKeys.digest(
      isCurrent ? row.secret_mac_key_id : row.previous_secret_mac_key_id,
      presented.secret
    )
    if (digest === undefined) return
    const { client_id: clientId } = row
    // While the database is away, nothing is lost: the next look-up tries again.
    this.#batcher.add(`${clientId} ${credential}`, { clientId, mac, digest }).catch(() => {})
  }
}
