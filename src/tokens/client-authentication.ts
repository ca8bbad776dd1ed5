import { isWellFormedSecret, verifyClientSecret } from '../registrations/client-secret.ts'
import { type HashGate, HashGateFull } from '../registrations/hash-gate.ts'
import type { Credential } from '../registrations/repository.ts'
import type { FailureBrake } from './failure-brake.ts'
import { invalidClient, temporarilyUnavailable } from './oauth-error.ts'
import { RefusedSecrets } from './refused-secrets.ts'
import type { TokenRequest } from './token-request.ts'
import type { VerifiedSecrets } from './verified-secrets.ts'

/** Verified in place of a stored hash when there is none, at the same cost. No secret is known to match it. */
const DECOY_HASH = '$argon2id$v=19$m=19456,t=2,p=1$6zqOo0VgKqYJv3m1m0d2Yw$2nX0c7lq4m9mC8j3m1mQk6oWb1V7nJ0q3u5xTtq1b0A'

/** Compares a secret with a stored hash, at most once at a time for the same pair. */
export class SecretVerifier {
  readonly #gate: HashGate
  readonly #verified: VerifiedSecrets
  readonly #refused = new RefusedSecrets()
  readonly #running = new Map<string, Promise<boolean>>()

  constructor(gate: HashGate, verified: VerifiedSecrets) {
    this.#gate = gate
    this.#verified = verified
  }

  /** Has this secret proved right for this stored hash before, in this process? */
  isKnown({ clientId, clientSecret }: TokenRequest, storedHash: string): boolean {
    return this.#verified.has(clientId, this.#verified.proofOf(clientSecret, storedHash))
  }

  /**
   * @param now milliseconds since the epoch
   * @throws HashGateFull
   */
  async verify(
    { clientId, clientSecret }: TokenRequest,
    storedHash: string,
    source: string,
    now: number
  ): Promise<boolean> {
    const refusal = this.#refused.refusalOf(source, clientId, clientSecret, storedHash)
    if (this.#refused.has(refusal, now)) return false
    const proof = this.#verified.proofOf(clientSecret, storedHash)
    // With the id: unknown clients, which share the decoy, wait for a hash of their own as known ones do.
    const key = `${clientId} ${proof.toString('base64')}`
    const running = this.#running.get(key) ?? this.#gate.run(() => verifyClientSecret(clientSecret, storedHash))
    this.#running.set(key, running)
    try {
      const matches = await running
      if (matches) this.#verified.add(clientId, proof)
      else this.#refused.add(refusal, now)
      return matches
    } finally {
      this.#running.delete(key)
    }
  }
}

/**
 * Authenticates the client of a token request with its secret.
 *
 * To whoever doesn't hold the secret, unknown, disabled and expired clients and a wrong secret look the same and
 * cost the same: one Argon2 verification, or none for a text that can't be a secret or was refused a moment ago.
 * Only to the holder does the answer say that the registration is disabled or has expired.
 *
 * @param credential of the request's client id, undefined when there is none
 * @param now clock, milliseconds since the epoch
 * @returns the credential, and the instant at which it was good
 * @throws OAuthError `invalid_client`, 401; 429 after too many failures; 503 when too much hashing is waiting
 * @see RFC 6749 §2.3.1, §5.2
 */
export async function authenticateClient(
  { verifier, brake, now }: { verifier: SecretVerifier; brake: FailureBrake; now: () => number },
  request: TokenRequest,
  credential: Credential | undefined,
  source: string
): Promise<{ credential: Credential; at: number }> {
  const { clientId, usesHeader } = request
  const storedHash = credential?.secret_hash ?? DECOY_HASH
  if (!verifier.isKnown(request, storedHash)) {
    brake.check(source, clientId, now())
    const matches =
      isWellFormedSecret(request.clientSecret) && (await verifyOrShed(verifier, request, storedHash, source, now()))
    if (!matches || credential === undefined) {
      brake.count(source, clientId, now())
      throw invalidClient(credential === undefined ? 'unknown_client' : 'wrong_secret', usesHeader)
    }
  }
  if (credential === undefined) throw invalidClient('unknown_client', usesHeader)
  const at = now()
  if (!credential.enabled) throw invalidClient('disabled', usesHeader, 'The registration is disabled.')
  if (credential.expires_at.getTime() <= at) throw invalidClient('expired', usesHeader, 'The registration has expired.')
  return { credential, at }
}

async function verifyOrShed(
  verifier: SecretVerifier,
  ...presented: Parameters<SecretVerifier['verify']>
): Promise<boolean> {
  try {
    return await verifier.verify(...presented)
  } catch (error) {
    throw error instanceof HashGateFull ? temporarilyUnavailable('hashing_overloaded') : error
  }
}
