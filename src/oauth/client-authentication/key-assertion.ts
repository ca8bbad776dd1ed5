import type { Credential } from '../../credentials/credential.ts'
import type { ClientRow } from '../../registrations/clients/repository.ts'
import { algorithmOf } from './assertion-algorithms.ts'
import { endOf, findClaimFault } from './assertion-checks.ts'
import { AssertionSignature } from './assertion-signature.ts'
import type { AssertionUses } from './assertion-uses/assertion-uses.ts'
import type { CredentialProof, MatchedClient, ProofFault } from './credential-proof.ts'
import type { SignedJwt } from './signed-jwt.ts'

interface KeyAssertionOptions {
  issuer: string
  assertionUses: AssertionUses
}

/** Signatures that are verified with the cached row, and in all before a refusal. */
const VERIFIED = { cached: 1, refused: 3 }

/**
 * An assertion that a client has made with its own key.
 *
 * Each refusal verifies one signature before the row is looked up and two after it, with decoys where the client has no
 * such key. So the time does not say whether a client exists, whether it has keys, of which kind they are, or whether
 * this instance knows it. That is why only the current key is tried with the cached row.
 */
export class KeyAssertion implements CredentialProof {
  readonly #options: KeyAssertionOptions
  readonly #clientId: string
  readonly #jwt: SignedJwt
  readonly #signature: AssertionSignature
  #wasMatched = false
  #use: Promise<void> | undefined

  /** @param jwt without a fault of its shape */
  constructor(options: KeyAssertionOptions, clientId: string, jwt: SignedJwt) {
    this.#options = options
    this.#clientId = clientId
    this.#jwt = jwt
    const algorithm = algorithmOf(jwt)
    if (algorithm === undefined) throw new Error('the shape of the assertion was not checked')
    this.#signature = new AssertionSignature(jwt, algorithm)
  }

  match(row: ClientRow): MatchedClient | undefined {
    const isCached = !this.#wasMatched
    this.#wasMatched = true
    if (row.is_registered) {
      if (this.#isBy(row.credential)) return { row, credential: 'current' }
      if (!isCached && this.#isBy(row.previous_credential)) return { row, credential: 'previous' }
    }
    if (isCached) this.#signature.padTo(VERIFIED.cached)
    return undefined
  }

  #isBy(credential: Credential): boolean {
    return credential.kind === 'key' && this.#signature.isBy(credential)
  }

  pad(): void {
    this.#signature.padTo(VERIFIED.refused)
  }

  findFault(now: number): ProofFault | undefined {
    return findClaimFault(this.#jwt, { issuer: this.#options.issuer, now })
  }

  use(): Promise<void> {
    this.#use ??= this.#options.assertionUses.use(this.#clientId, String(this.#jwt.claims['jti']), endOf(this.#jwt))
    return this.#use
  }
}
