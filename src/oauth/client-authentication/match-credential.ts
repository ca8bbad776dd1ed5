import type { PresentedMacs } from '../../credentials/secret-mac.ts'
import type { ClientRow } from '../../registrations/clients/repository.ts'
import type { AssertionUses } from './assertion-uses/assertion-uses.ts'
import type { Refuse } from './authenticate.ts'
import { type CredentialProof, type MatchedClient, matchedAs } from './credential-proof.ts'
import { type FederationOptions, proveWorkload } from './federated-assertion.ts'
import { KeyAssertion } from './key-assertion.ts'
import type { PresentedClient } from './presented-client.ts'

interface PresentedMacKeys {
  present: (clientId: string, secret: string) => PresentedMacs
}

interface ProofOptions extends FederationOptions {
  macKeys: PresentedMacKeys
  assertionUses: AssertionUses
}

/**
 * Prepares the comparison of what a client presents with rows. A new kind of credential is a case here.
 *
 * @returns a promise only for the token of a platform, which is proved first. It waits for keys of an issuer at most, never
 * for the database
 */
export function proofOf(
  options: ProofOptions,
  { clientId, credential }: PresentedClient,
  refuse: Refuse
): CredentialProof | Promise<CredentialProof> {
  if (credential.kind === 'secret') return proofOfSecret(options.macKeys, clientId, credential.secret)
  if (credential.isOwn) return new KeyAssertion(options, clientId, credential.assertion)
  return proveWorkload(credential.assertion, options, refuse)
}

/** Prepares the comparison of a secret with rows. */
export function proofOfSecret(macKeys: PresentedMacKeys, clientId: string, secret: string): CredentialProof {
  const macs = macKeys.present(clientId, secret)
  return { match: row => matchSecret(row, macs) }
}

/** Compares with both secrets, so that the time says nothing about the row. */
function matchSecret(row: ClientRow, macs: PresentedMacs): MatchedClient | undefined {
  const isCurrent = macs.equals({ keyId: row.secret_mac_key_id, mac: row.secret_mac })
  const isPrevious = macs.equals({ keyId: row.previous_secret_mac_key_id, mac: row.previous_secret_mac })
  return matchedAs(row, isCurrent, isPrevious)
}
