import { type Semaphore, SemaphoreFull } from '../../concurrency/semaphore.ts'
import { checksumOf, isWellFormedSecret, verifyClientSecret } from '../../credentials/secret.ts'
import type { Credential } from '../../registrations/repository.ts'
import { invalidClient, type RefusalReason, temporarilyUnavailable } from '../oauth-error.ts'
import type { FailureBrake } from '../token/cache/failure-brake.ts'
import type { KnownClients, Proven, SecretAge } from '../token/cache/known-clients.ts'
import { type Presented, RefusedSecrets } from '../token/cache/refused-secrets.ts'
import type { TokenRequest } from '../token/request.ts'

/** Verified in place of a stored hash when there is none, at the same cost. No secret is known to match it. */
const DECOY_HASH = '$argon2id$v=19$m=19456,t=2,p=1$6zqOo0VgKqYJv3m1m0d2Yw$2nX0c7lq4m9mC8j3m1mQk6oWb1V7nJ0q3u5xTtq1b0A'

/** Compares a secret with a stored hash, at most once at a time for the same pair. */
export class SecretVerifier {
  readonly #gate: Semaphore
  readonly #refused = new RefusedSecrets()
  readonly #running = new Map<string, Promise<boolean>>()

  constructor(gate: Semaphore) {
    this.#gate = gate
  }

  /**
   * @param now milliseconds since the epoch
   * @throws SemaphoreFull
   */
  async verify(presented: Presented, storedHash: string, now: number): Promise<boolean> {
    const { clientId, clientSecret, proof } = presented
    const refusal = this.#refused.refusalOf(presented, storedHash)
    if (this.#refused.has(refusal, now)) return false
    // With the id: unknown clients, which share the decoy, wait for a hash of their own as known ones do.
    const pair = `${clientId} ${proof.toString('base64')} ${storedHash}`
    const running = this.#running.get(pair) ?? this.#gate.run(() => verifyClientSecret(clientSecret, storedHash))
    this.#running.set(pair, running)
    try {
      const matches = await running
      if (!matches) this.#refused.add(refusal, now)
      return matches
    } finally {
      this.#running.delete(pair)
    }
  }
}

interface AuthenticationNeeds {
  known: KnownClients
  verifier: SecretVerifier
  brake: FailureBrake
  /** Milliseconds since the epoch. */
  now: () => number
}

/**
 * Refuses a text that can't be a secret before anything is looked up or hashed: that a row is there or not takes
 * 20 µs to read, which nothing else in such an answer's time would hide.
 *
 * @throws OAuthError `invalid_client`, 401; 429 after too many failures
 */
export function refuseMalformedSecret(
  { brake, now }: { brake: FailureBrake; now: () => number },
  { client: { clientId, credential } }: TokenRequest,
  source: string
): void {
  if (isWellFormedSecret(credential.secret)) return
  brake.check(source, clientId, now())
  brake.count(source, clientId, now())
  throw invalidClient('malformed_secret')
}

/**
 * Authenticates the client of a token request with its secret.
 *
 * To whoever doesn't hold a secret, unknown, disabled and expired clients and a wrong or retired secret look the same
 * and cost the same: one Argon2 verification, or none for what was refused a moment ago. Only to the holder does the
 * answer say that the registration is disabled or has expired.
 *
 * @param proof of the presented secret
 * @param credential of the request's client id, undefined when there is none
 * @param now clock, milliseconds since the epoch
 * @returns the credential, which of its secrets it was, and the instant at which it was good
 * @throws OAuthError `invalid_client`, 401; 429 after too many failures; 503 when too much hashing is waiting
 * @see RFC 6749 §2.3.1, §5.2
 */
export async function authenticateClient(
  { known, verifier, brake, now }: AuthenticationNeeds,
  request: TokenRequest,
  proof: Buffer,
  credential: Credential | undefined,
  source: string
): Promise<{ proven: Proven; at: number }> {
  const {
    clientId,
    credential: { secret: clientSecret }
  } = request.client
  const { secret, storedHash } = secretToCompare(credential, clientSecret)
  const refuse = (reason: RefusalReason): never => {
    brake.count(source, clientId, now())
    throw invalidClient(reason)
  }
  const isProven = known.isProven(clientId, proof, storedHash)
  if (!isProven) brake.check(source, clientId, now())
  const presented = { clientId, clientSecret, proof, source }
  const matches = isProven || (await verifyOrShed(verifier, presented, storedHash, now()))
  if (credential === undefined) return refuse('unknown_client')
  if (!matches) return refuse('wrong_secret')
  const at = now()
  const proven = { credential, secret }
  if (isRetired(proven, at)) return refuse('retired_secret')
  if (!credential.enabled) throw invalidClient('disabled', 'The registration is disabled.')
  if (credential.expires_at.getTime() <= at) throw invalidClient('expired', 'The registration has expired.')
  return { proven, at }
}

/** Is this the secret before the latest rotation, and its time over? */
export function isRetired({ credential, secret }: Proven, now: number): boolean {
  return secret === 'previous' && (credential.previous_secret_expires_at?.getTime() ?? 0) <= now
}

/**
 * The one hash that a presented secret is compared with: while a registration has two, its checksum tells which.
 * Comparing with both would take a stranger's request twice as long, and so tell of the rotation.
 */
function secretToCompare(
  credential: Credential | undefined,
  clientSecret: string
): { secret: SecretAge; storedHash: string } {
  if (credential === undefined) return { secret: 'current', storedHash: DECOY_HASH }
  const { secret_hash, secret_checksum, previous_secret_hash } = credential
  return previous_secret_hash === null || secret_checksum === checksumOf(clientSecret)
    ? { secret: 'current', storedHash: secret_hash }
    : { secret: 'previous', storedHash: previous_secret_hash }
}

async function verifyOrShed(
  verifier: SecretVerifier,
  ...presented: Parameters<SecretVerifier['verify']>
): Promise<boolean> {
  try {
    return await verifier.verify(...presented)
  } catch (error) {
    throw error instanceof SemaphoreFull ? temporarilyUnavailable('hashing_overloaded') : error
  }
}
