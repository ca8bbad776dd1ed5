import type { MacKeys } from '../../credentials/mac-keys.ts'
import type { TrustedIssuers } from '../../issuer-keys/trusted-issuers.ts'
import type { ClientLookup } from '../token/cache/client-lookup.ts'
import type { AssertionUses } from './assertion-uses/assertion-uses.ts'
import { type Refuse, refuseMalformed, refuserOf } from './authenticate.ts'
import type { CredentialProof } from './credential-proof.ts'
import type { FailureLimiter } from './failure-limiter.ts'
import type { LostMacKeyRecovery } from './lost-mac-key.ts'
import { proofOf } from './match-credential.ts'
import type { PresentedClient } from './presented-client.ts'

/** Options of client authentication, the same at every endpoint. */
export interface ClientAuthenticationOptions {
  lookup: ClientLookup
  recovery: LostMacKeyRecovery
  macKeys: MacKeys
  assertionUses: AssertionUses
  /** The issuers of tokens by which platforms vouch for workloads. */
  trustedIssuers: Pick<TrustedIssuers, 'keysOf'>
  limiter: FailureLimiter
  issuer: string
  /** Milliseconds since the epoch. */
  now: () => number
}

/** A client on its way to be authenticated. */
export interface Attempt {
  client: PresentedClient
  proof: CredentialProof
  refuse: Refuse
}

/**
 * Begins the authentication of a client: refuses what cannot be right, and prepares the comparison with rows.
 *
 * @param source address that the request came from
 * @returns a promise only for the token of a platform, which is proved first
 * @throws OAuthError `invalid_client`, 401; 429 after too many failures
 */
export function beginAttempt(
  options: ClientAuthenticationOptions,
  client: PresentedClient,
  source: string
): Attempt | Promise<Attempt> {
  const refuse = refuserOf(options, source, client.clientId)
  refuseMalformed(client, refuse)
  const proof = proofOf(options, client, refuse)
  if (proof instanceof Promise) return proof.then(proof => ({ client, proof, refuse }))
  return { client, proof, refuse }
}
