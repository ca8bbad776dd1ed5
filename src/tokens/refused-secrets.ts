import { createHmac, randomBytes } from 'node:crypto'

/** A client that has its secret wrong sends it again and again; within this time Argon2 is not asked twice. */
const KEPT_MS = 60_000
/** Room for this many; about 150 bytes each. The one that was kept first makes room. */
const MAX_REFUSALS = 10_000

/**
 * Remembers for a minute which secrets have proved wrong, so that presenting one again costs no Argon2.
 *
 * Bound to the source, the client id and the exact stored hash. The id is part of it because all unknown ids share
 * one decoy hash: a secret refused for one of them must be news for the next, as it is between known ones.
 */
export class RefusedSecrets {
  readonly #key = randomBytes(32)
  readonly #keptUntil = new Map<string, number>()

  /** What identifies this secret for this client, from this source. Holds nothing of what was presented. */
  refusalOf(source: string, clientId: string, secret: string, storedHash: string): string {
    return createHmac('sha256', this.#key).update(`${source}\n${storedHash}\n${clientId}\n${secret}`).digest('base64')
  }

  /** @param now milliseconds since the epoch */
  has(refusal: string, now: number): boolean {
    return (this.#keptUntil.get(refusal) ?? 0) > now
  }

  add(refusal: string, now: number): void {
    this.#keptUntil.delete(refusal)
    this.#keptUntil.set(refusal, now + KEPT_MS)
    if (this.#keptUntil.size <= MAX_REFUSALS) return
    const [oldest] = this.#keptUntil.keys()
    if (oldest !== undefined) this.#keptUntil.delete(oldest)
  }
}
