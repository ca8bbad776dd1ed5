import { hash, randomBytes, timingSafeEqual } from 'node:crypto'
import { BoundedMap } from '../../../concurrency/bounded-map.ts'
import type { Credential } from '../../../registrations/repository.ts'

/** Room for this many clients, under a kilobyte each. */
const MAX_CLIENTS = 100_000

/** Which secret of a registration: of two while a rotation is under way. */
export type SecretAge = 'current' | 'previous'

interface KnownClient {
  /** As it was last read. */
  credential: Credential
  /** Of the secrets that matched this credential's hashes. */
  proofs: { [Age in SecretAge]: Buffer }
  /** Of the latest exchange, milliseconds since the epoch. */
  exchangedAt: number
}

/** A client that presents a secret which has proved right here before. */
export interface Proven {
  credential: Credential
  secret: SecretAge
}

/**
 * What this process knows of the clients that have exchanged here: the registration as last read, and which secrets
 * proved right for it. It saves work and never decides: what it says is confirmed by the database each time.
 *
 * Holds no secret and no plain digest of one: digests under a key of this process alone, which count for nothing
 * once the stored hash is another.
 */
export class KnownClients {
  readonly #key = randomBytes(32).toString('hex')
  /** No secret's proof. */
  readonly #nothing = randomBytes(32)
  readonly #clients = new BoundedMap<string, KnownClient>(MAX_CLIENTS)

  /** What tells this secret from others. Nobody sees it: that SHA-256 can be extended is no matter. */
  proofOf(secret: string): Buffer {
    return hash('sha256', this.#key + secret, 'buffer')
  }

  /** @returns undefined unless this proof is of a secret of the client; the same work when nobody is known */
  find(clientId: string, proof: Buffer): Proven | undefined {
    const known = this.#clients.get(clientId)
    const isCurrent = timingSafeEqual(known?.proofs.current ?? this.#nothing, proof)
    const isPrevious = timingSafeEqual(known?.proofs.previous ?? this.#nothing, proof)
    if (known === undefined || (!isCurrent && !isPrevious)) return undefined
    return { credential: known.credential, secret: isCurrent ? 'current' : 'previous' }
  }

  /** Has the secret of this proof matched this stored hash here before? */
  isProven(clientId: string, proof: Buffer, storedHash: string): boolean {
    const proven = this.find(clientId, proof)
    return proven !== undefined && storedHash === hashOf(proven)
  }

  /** The credential of a client that exchanged after this instant, milliseconds since the epoch. */
  exchangedSince(clientId: string, instant: number): Credential | undefined {
    const known = this.#clients.get(clientId)
    return known !== undefined && known.exchangedAt > instant ? known.credential : undefined
  }

  /** Keeps what was read just now, and that this proof is of that secret. */
  remember({ credential, secret }: Proven, proof: Buffer, exchangedAt: number): void {
    const clientId = credential.client_id
    const proofs = this.#stillGood(clientId, credential)
    this.#clients.set(clientId, { credential, proofs: { ...proofs, [secret]: proof }, exchangedAt })
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
    if (read === undefined) {
      this.#clients.delete(clientId)
      return
    }
    known.proofs = this.#stillGood(clientId, read)
    known.credential = read
  }

  /** A proof is for one stored hash, wherever a rotation has moved that. */
  #stillGood(clientId: string, read: Credential): KnownClient['proofs'] {
    const known = this.#clients.get(clientId)
    const proofFor = (storedHash: string | null): Buffer => {
      if (storedHash === null || known === undefined) return this.#nothing
      if (storedHash === known.credential.secret_hash) return known.proofs.current
      return storedHash === known.credential.previous_secret_hash ? known.proofs.previous : this.#nothing
    }
    return { current: proofFor(read.secret_hash), previous: proofFor(read.previous_secret_hash) }
  }
}

function hashOf({ credential, secret }: Proven): string | null {
  return secret === 'current' ? credential.secret_hash : credential.previous_secret_hash
}
