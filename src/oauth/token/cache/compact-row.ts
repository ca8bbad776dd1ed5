import { SECRET } from '../../../credentials/credential.ts'
import { type ClientRow, DECOY_ROW, LONG_AGO, NO_MAC_KEY } from '../../../registrations/clients/repository.ts'

/** This many MACs share one block of memory. Few, because one that stays keeps its whole block. */
const MACS_PER_BLOCK = 16
const MAC_BYTES = 32

const NONE: string[] = []

/**
 * Makes rows small enough for a cache. A row as it was read takes 3 KB: it has its own copy of all padding, and its MACs keep
 * larger buffers in memory. A compact one takes 0.6 KB. It shares with other rows what pads a row of a client without a
 * previous secret, a key or a cut-off.
 */
export class RowCompactor {
  #block = Buffer.alloc(0)
  #usedBytes = 0
  /** All secrets have the same MAC key, except while keys are changed. */
  #macKeyId = NO_MAC_KEY

  /**
   * Returns a row that says the same, and keeps no buffer of the answer of the database.
   *
   * @param known compact row of the same client that it replaces, whose MACs are used again
   */
  compact(row: ClientRow, known?: ClientRow): ClientRow {
    return {
      ...row,
      credential: row.credential.kind === 'secret' ? SECRET : row.credential,
      secret_mac: this.#compactMac(row.secret_mac, row.secret_mac_key_id, known?.secret_mac),
      secret_mac_key_id: this.#compactKeyId(row.secret_mac_key_id),
      previous_credential: row.previous_credential.kind === 'secret' ? SECRET : row.previous_credential,
      previous_secret_mac: this.#compactMac(
        row.previous_secret_mac,
        row.previous_secret_mac_key_id,
        known?.previous_secret_mac
      ),
      previous_secret_mac_key_id: this.#compactKeyId(row.previous_secret_mac_key_id),
      previous_secret_expires_at: compactInstant(row.previous_secret_expires_at),
      scopes: compactList(row.scopes),
      audiences: compactList(row.audiences),
      tokens_valid_from: compactInstant(row.tokens_valid_from)
    }
  }

  #compactMac(mac: Buffer, keyId: string, known: Buffer | undefined): Buffer {
    if (keyId === NO_MAC_KEY) return DECOY_ROW.secret_mac
    if (known?.equals(mac) === true) return known
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
