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

/** An assertion that a client has made with its own key. */
export class KeyAssertion implements CredentialProof {
  readonly #options: KeyAssertionOptions
  readonly #clientId: string
  readonly #jwt: SignedJwt
  readonly #signature: AssertionSignature
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
    if (!row.is_registered) return undefined
    if (this.#isBy(row.credential)) return { row, credential: 'current' }
    return this.#isBy(row.previous_credential) ? { row, credential: 'previous' } : undefined
  }

  #isBy(credential: Credential): boolean {
    return credential.kind === 'key' && this.#signature.isBy(credential)
  }

  pad(): void {
    this.#signature.pad()
  }

  findFault(now: number): ProofFault | undefined {
    return findClaimFault(this.#jwt, { issuer: this.#options.issuer, now })
  }

  use(): Promise<void> {
    this.#use ??= this.#options.assertionUses.use(this.#clientId, String(this.#jwt.claims['jti']), endOf(this.#jwt))
    // The caller may find another reason to refuse the request first.
    this.#use.catch(() => {})
    return this.#use
  }
}
