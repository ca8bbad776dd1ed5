import { type KeyObject, verify } from 'node:crypto'
import { BoundedMap } from '../../concurrency/bounded-map.ts'
import type { KeyCredential } from '../../credentials/credential.ts'
import { publicKeyOf } from '../../credentials/public-key.ts'
import type { Algorithm } from './assertion-algorithms.ts'
import type { SignedJwt } from './signed-jwt.ts'

/** Keys that stay imported, some kilobytes each. Importing a key and verifying with it first takes up to 60 µs longer. */
const MAX_IMPORTED = 20_000
/** By the id of the key. */
const imported = new BoundedMap<string, KeyObject>(MAX_IMPORTED)

/**
 * Verifies the signature of one assertion. Where a client has no key that could have made the signature, a decoy takes
 * its place, so that a refusal takes the same work for every client.
 *
 * The first assertion for a client takes longer on each process, because its key is imported. That cannot be repeated.
 */
export class AssertionSignature {
  readonly #jwt: SignedJwt
  readonly #algorithm: Algorithm
  /** Results by the ids of keys, so that no key is tried twice when the row is read again. */
  readonly #results = new Map<string, boolean>()
  #verified = 0

  constructor(jwt: SignedJwt, algorithm: Algorithm) {
    this.#jwt = jwt
    this.#algorithm = algorithm
  }

  /** How many signatures were verified. */
  get verified(): number {
    return this.#verified
  }

  /** Whether this key has made the signature, by the algorithm that it is registered for (RFC 8725 §3.1). */
  isBy(key: KeyCredential): boolean {
    if (!this.#couldBeBy(key)) return false
    const result = this.#results.get(key.keyId) ?? this.#verifies(importOnce(key))
    this.#results.set(key.keyId, result)
    return result
  }

  /** Verifies with a decoy until so many signatures were verified. */
  padTo(verified: number): void {
    while (this.#verified < verified) this.#verifies(this.#algorithm.decoy(this.#jwt.signature.length))
  }

  #couldBeBy({ alg, jwk }: KeyCredential): boolean {
    if (alg !== this.#algorithm.alg) return false
    if (jwk['n'] === undefined) return true
    // OpenSSL would give up sooner when the signature is longer than the modulus or not less than it.
    const modulus = Buffer.from(jwk['n'], 'base64url')
    const { signature } = this.#jwt
    return signature.length === modulus.length && Buffer.compare(signature, modulus) < 0
  }

  #verifies(key: KeyObject): boolean {
    this.#verified++
    const { digest, options } = this.#algorithm
    return verify(digest, this.#jwt.signed, { ...options, key }, this.#jwt.signature)
  }
}

function importOnce(credential: KeyCredential): KeyObject {
  const known = imported.get(credential.keyId)
  if (known !== undefined) return known
  const key = publicKeyOf(credential)
  imported.set(credential.keyId, key)
  return key
}
