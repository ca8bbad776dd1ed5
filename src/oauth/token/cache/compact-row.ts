import { SECRET } from '../../../credentials/credential.ts'
import { type ClientRow, DECOY_ROW, LONG_AGO, NO_MAC_KEY } from '../../../registrations/clients/repository.ts'

/** MACs of this many rows are in one block of memory. Few, because one row that stays keeps its whole block. */
const MACS_PER_BLOCK = 128
const MAC_BYTES = 32

const NONE: string[] = []

/**
 * Makes rows small enough for a cache. A row as it was read takes 2 KB of memory, because it owns everything in it. A
 * compact one takes 0.6 KB: it shares what it has in common with others, and above all what pads a row of a client
 * without a previous secret, a key or a cut-off.
 */
export class RowCompactor {
  #block = Buffer.alloc(0)
  #usedBytes = 0
  /** All secrets have the same MAC key, except while keys are changed. */
  #macKeyId = NO_MAC_KEY

  /** Returns an equal row. It shares nothing with the answer of the database. */
  compact(row: ClientRow): ClientRow {
    return {
      ...row,
      credential: row.credential.kind === 'secret' ? SECRET : row.credential,
      secret_mac: this.#compactMac(row.secret_mac, row.secret_mac_key_id),
      secret_mac_key_id: this.#compactKeyId(row.secret_mac_key_id),
      previous_credential: row.previous_credential.kind === 'secret' ? SECRET : row.previous_credential,
      previous_secret_mac: this.#compactMac(row.previous_secret_mac, row.previous_secret_mac_key_id),
      previous_secret_mac_key_id: this.#compactKeyId(row.previous_secret_mac_key_id),
      previous_secret_expires_at: compactInstant(row.previous_secret_expires_at),
      scopes: compactList(row.scopes),
      audiences: compactList(row.audiences),
      tokens_valid_from: compactInstant(row.tokens_valid_from)
    }
  }

  #compactMac(mac: Buffer, keyId: string): Buffer {
    if (keyId === NO_MAC_KEY) return DECOY_ROW.secret_mac
    if (this.#usedBytes === this.#block.length) {
      this.#block = Buffer.allocUnsafeSlow(MACS_PER_BLOCK * MAC_BYTES)
      this.#usedBytes = 0
    }
    const own = this.#block.subarray(this.#usedBytes, this.#usedBytes + MAC_BYTES)
    own.set(mac)
    this.#usedBytes += MAC_BYTES
    return own
  }

  #compactKeyId(keyId: string): string {
    if (keyId === NO_MAC_KEY) return NO_MAC_KEY
    if (keyId !== this.#macKeyId) this.#macKeyId = keyId
    return this.#macKeyId
  }
}

function compactInstant(instant: Date): Date {
  return instant.getTime() === LONG_AGO.getTime() ? LONG_AGO : instant
}

function compactList(list: string[]): string[] {
  return list.length === 0 ? NONE : list
}
