import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'

/** The MAC of a secret as it is stored. */
export interface SecretMac {
  keyId: string
  mac: Buffer
}

/** The MAC of a new secret, with the digest that finds its registration. */
export interface NewSecretMac extends SecretMac {
  digest: Buffer
}

export type MacKeySet = ReadonlyMap<string, Buffer>

/** Equals no stored MAC. */
const NO_MAC = randomBytes(32)

/**
 * Computes the MAC of a secret: HMAC-SHA-256 of client id, a zero byte and the secret. A secret has 256 random bits, so
 * that its MAC reveals nothing. The client id makes a MAC worthless in the row of another client.
 */
export function macOf(key: Buffer, clientId: string, secret: string): Buffer {
  return createHmac('sha256', key).update(`${clientId}\0${secret}`).digest()
}

/** The MACs of a presented secret, to compare with those that are stored. */
export class PresentedMacs {
  readonly #keys: MacKeySet
  readonly #clientId: string
  readonly #secret: string
  readonly #macs = new Map<string, Buffer>()

  /** @param keys may grow later */
  constructor(keys: MacKeySet, clientId: string, secret: string) {
    this.#keys = keys
    this.#clientId = clientId
    this.#secret = secret
  }

  /** Compares in constant time. Does the same work for a MAC under an unknown key. */
  equals({ keyId, mac }: SecretMac): boolean {
    // Under every key, so that the time does not depend on the stored MAC.
    for (const [id, key] of this.#keys) {
      if (!this.#macs.has(id)) this.#macs.set(id, macOf(key, this.#clientId, this.#secret))
    }
    return timingSafeEqual(this.#macs.get(keyId) ?? NO_MAC, mac)
  }
}
