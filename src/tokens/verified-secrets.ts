import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'

/** Room for this many clients; about 200 bytes each. The one that was proven longest ago makes room. */
const MAX_CLIENTS = 100_000

/**
 * Remembers which secret has proved right for which stored hash, so that Argon2 is paid once per client and process.
 *
 * Holds no secret and no plain digest of one: an HMAC under a key of this process alone, bound to the exact
 * stored hash. A changed or deleted registration is never vouched for.
 */
export class VerifiedSecrets {
  readonly #key = randomBytes(32)
  readonly #proofs = new Map<string, Buffer>()

  /** What identifies this secret together with this stored hash. */
  proofOf(secret: string, storedHash: string): Buffer {
    return createHmac('sha256', this.#key).update(`${storedHash}\n${secret}`).digest()
  }

  has(clientId: string, proof: Buffer): boolean {
    const known = this.#proofs.get(clientId)
    return known !== undefined && timingSafeEqual(known, proof)
  }

  add(clientId: string, proof: Buffer): void {
    this.#proofs.delete(clientId)
    this.#proofs.set(clientId, proof)
    if (this.#proofs.size <= MAX_CLIENTS) return
    const [oldest] = this.#proofs.keys()
    if (oldest !== undefined) this.#proofs.delete(oldest)
  }
}
