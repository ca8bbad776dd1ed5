import { hash, randomBytes, timingSafeEqual } from 'node:crypto'
import type { Credential } from '../registrations/repository.ts'
import { BoundedMap } from './bounded-map.ts'

/** Room for this many clients, under a kilobyte each. */
const MAX_CLIENTS = 100_000

interface KnownClient {
  /** As it was last read. */
  credential: Credential
  /** Of the secret that matched this credential's hash. */
  proof: Buffer
  /** Of the latest exchange, milliseconds since the epoch. */
  exchangedAt: number
}

/**
 * What this process knows of the clients that have exchanged here: the registration as last read, and which secret
 * proved right for it. It saves work and never decides: what it says is confirmed by the database each time.
 *
 * Holds no secret and no plain digest of one: a digest under a key of this process alone, which counts for nothing
 * once the stored hash is another.
 */
export class KnownClients {
  readonly #key = randomBytes(32).toString('hex')
  readonly #nobody = randomBytes(32)
  readonly #clients = new BoundedMap<string, KnownClient>(MAX_CLIENTS)

  /** What tells this secret from others. Nobody sees it: that SHA-256 can be extended is no matter. */
  proofOf(secret: string): Buffer {
    return hash('sha256', this.#key + secret, 'buffer')
  }

  /** @returns the credential as last read, if this proof is the one of its secret; the same work when nobody is known */
  find(clientId: string, proof: Buffer): Credential | undefined {
    const known = this.#clients.get(clientId)
    return timingSafeEqual(known?.proof ?? this.#nobody, proof) ? known?.credential : undefined
  }

  /** Has this secret matched this stored hash here before? */
  isProven(clientId: string, proof: Buffer, storedHash: string): boolean {
    return this.find(clientId, proof)?.secret_hash === storedHash
  }

  /** The credential of a client that exchanged after this instant, milliseconds since the epoch. */
  exchangedSince(clientId: string, instant: number): Credential | undefined {
    const known = this.#clients.get(clientId)
    return known !== undefined && known.exchangedAt > instant ? known.credential : undefined
  }

  /** Keeps what was read just now, and that this proof is of its secret. */
  remember(credential: Credential, proof: Buffer, exchangedAt: number): void {
    this.#clients.set(credential.client_id, { credential, proof, exchangedAt })
  }

  /** It exchanged again, by the same credential. */
  touch(credential: Credential, exchangedAt: number): void {
    const known = this.#clients.get(credential.client_id)
    if (known?.credential === credential) known.exchangedAt = exchangedAt
  }

  /** Nothing older than the latest read is kept: a client that was found disabled stays so. */
  update(clientId: string, read: Credential | undefined): void {
    const known = this.#clients.get(clientId)
    if (known === undefined) return
    if (read?.secret_hash === known.credential.secret_hash) known.credential = read
    else this.#clients.delete(clientId)
  }
}
