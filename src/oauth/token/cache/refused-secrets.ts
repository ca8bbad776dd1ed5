import { hash } from 'node:crypto'
import { BoundedMap } from '../../../concurrency/bounded-map.ts'

/** A client that has its secret wrong sends it again and again; within this time Argon2 is not asked twice. */
const KEPT_MS = 60_000
/** Room for this many; about 150 bytes each. */
const MAX_REFUSALS = 10_000

/** A secret as it comes. */
export interface Presented {
  clientId: string
  clientSecret: string
  /** What tells the secret from others, and nothing else of it. */
  proof: Buffer
  /** Address that it came from. */
  source: string
}

/**
 * Remembers for a minute which secrets have proved wrong, so that presenting one again costs no Argon2.
 *
 * Bound to the source, the client id and the exact stored hash. The id is part of it because all unknown ids share
 * one decoy hash: a secret refused for one of them must be news for the next, as it is between known ones.
 */
export class RefusedSecrets {
  readonly #keptUntil = new BoundedMap<string, number>(MAX_REFUSALS)

  /** What identifies this secret for this client, from this source. Holds nothing of what was presented. */
  refusalOf({ clientId, proof, source }: Presented, storedHash: string): string {
    return hash('sha256', `${source}\n${storedHash}\n${proof.toString('hex')}\n${clientId}`, 'base64')
  }

  /** @param now milliseconds since the epoch */
  has(refusal: string, now: number): boolean {
    return (this.#keptUntil.get(refusal) ?? 0) > now
  }

  add(refusal: string, now: number): void {
    this.#keptUntil.set(refusal, now + KEPT_MS)
  }
}
