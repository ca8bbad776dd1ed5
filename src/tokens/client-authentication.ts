import { isWellFormedSecret, verifyClientSecret } from '../registrations/client-secret.ts'
import { type HashGate, HashGateFull } from '../registrations/hash-gate.ts'
import type { Credential } from '../registrations/repository.ts'
import type { FailureBrake } from './failure-brake.ts'
import type { KnownClients } from './known-clients.ts'
import { invalidClient, temporarilyUnavailable } from './oauth-error.ts'
import type { TokenRequest } from './token-request.ts'

/** Verified in place of a stored hash when there is none, at the same cost. No secret is known to match it. */
const DECOY_HASH = '$argon2id$v=19$m=19456,t=2,p=1$6zqOo0VgKqYJv3m1m0d2Yw$2nX0c7lq4m9mC8j3m1mQk6oWb1V7nJ0q3u5xTtq1b0A'

/** Compares a secret with a stored hash, at most once at a time for the same pair. */
export class SecretVerifier {
  readonly #gate: HashGate
  readonly #running = new Map<string, Promise<boolean>>()

  constructor(gate: HashGate) {
    this.#gate = gate
  }

  /** @param proof what tells this secret from others @throws HashGateFull */
  async verify(secret: string, proof: Buffer, storedHash: string): Promise<boolean> {
    const pair = `${proof.toString('latin1')}${storedHash}`
    const running = this.#running.get(pair) ?? this.#gate.run(() => verifyClientSecret(secret, storedHash))
    this.#running.set(pair, running)
    try {
      return await running
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
 * Authenticates the client of a token request with its secret.
 *
 * To whoever doesn't hold the secret, unknown, disabled and expired clients and a wrong secret look the same and
 * cost the same: one Argon2 verification, or none for a text that can't be a secret. Only to the holder does the
 * answer say that the registration is disabled or has expired.
 *
 * @param proof of the presented secret
 * @param credential of the request's client id, undefined when there is none
 * @param now clock, milliseconds since the epoch
 * @returns the credential, and the instant at which it was good
 * @throws OAuthError `invalid_client`, 401; 429 after too many failures; 503 when too much hashing is waiting
 * @see RFC 6749 §2.3.1, §5.2
 */
export async function authenticateClient(
  { known, verifier, brake, now }: AuthenticationNeeds,
  request: TokenRequest,
  proof: Buffer,
  credential: Credential | undefined,
  source: string
): Promise<{ credential: Credential; at: number }> {
  const { clientId, clientSecret, usesHeader } = request
  const storedHash = credential?.secret_hash ?? DECOY_HASH
  if (!known.isProven(clientId, proof, storedHash)) {
    brake.check(source, clientId, now())
    const matches = isWellFormedSecret(clientSecret) && (await verifyOrShed(verifier, clientSecret, proof, storedHash))
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
  secret: string,
  proof: Buffer,
  storedHash: string
): Promise<boolean> {
  try {
    return await verifier.verify(secret, proof, storedHash)
  } catch (error) {
    throw error instanceof HashGateFull ? temporarilyUnavailable('hashing_overloaded') : error
  }
}
