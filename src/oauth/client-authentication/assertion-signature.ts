import { createPublicKey, type JsonWebKey, type KeyObject, verify } from 'node:crypto'
import type { KeyCredential } from '../../credentials/credential.ts'
import type { Algorithm } from './assertion-algorithms.ts'
import type { SignedJwt } from './signed-jwt.ts'

/** Keys that were imported, as long as the row that they are from is in a cache. Importing costs up to 40 µs. */
const IMPORTED = new WeakMap<JsonWebKey, KeyObject>()

/** The keys that a registration can have: the current and the previous one. */
const KEYS_OF_A_CLIENT = 2

/**
 * Verifies the signature of one assertion, with as much work for every client that is refused: two keys are imported and
 * two signatures are verified. Where a client has no key that could have made the signature, decoys take their place.
 * So the time does not say whether a client exists, whether it has keys, of which kind they are, or whether this instance
 * knows it.
 */
export class AssertionSignature {
  readonly #jwt: SignedJwt
  readonly #algorithm: Algorithm
  /** Results by the ids of keys, so that no key is tried twice when the row is read again. */
  readonly #results = new Map<string, boolean>()
  #imported = 0
  #verified = 0

  constructor(jwt: SignedJwt, algorithm: Algorithm) {
    this.#jwt = jwt
    this.#algorithm = algorithm
  }

  /** How much work was done. */
  get work(): { imported: number; verified: number } {
    return { imported: this.#imported, verified: this.#verified }
  }

  /** Whether this key has made the signature, by the algorithm that it is registered for (RFC 8725 §3.1). */
  isBy(key: KeyCredential): boolean {
    if (!this.#couldBeBy(key)) return false
    const result = this.#results.get(key.keyId) ?? this.#verifies(this.#import(key.jwk))
    this.#results.set(key.keyId, result)
    return result
  }

  /** Does what is left of the work of a refusal. */
  pad(): void {
    const decoy = this.#algorithm.decoy(this.#jwt.signature.length)
    while (this.#imported < KEYS_OF_A_CLIENT) this.#importNew(decoy)
    while (this.#verified < KEYS_OF_A_CLIENT) this.#verifies(this.#import(decoy))
  }

  #couldBeBy({ alg, jwk }: KeyCredential): boolean {
    if (alg !== this.#algorithm.alg) return false
    if (jwk['n'] === undefined) return true
    // OpenSSL would give up sooner when the signature is longer than the modulus or not less than it.
    const modulus = Buffer.from(jwk['n'], 'base64url')
    const { signature } = this.#jwt
    return signature.length === modulus.length && Buffer.compare(signature, modulus) < 0
  }

  #import(jwk: JsonWebKey): KeyObject {
    return IMPORTED.get(jwk) ?? this.#importNew(jwk)
  }

  #importNew(jwk: JsonWebKey): KeyObject {
    const key = createPublicKey({ key: jwk, format: 'jwk' })
    IMPORTED.set(jwk, key)
    this.#imported++
    return key
  }

  #verifies(key: KeyObject): boolean {
    this.#verified++
    const { digest, options } = this.#algorithm
    return verify(digest, this.#jwt.signed, { ...options, key }, this.#jwt.signature)
  }
}
