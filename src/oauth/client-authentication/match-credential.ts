import type { PresentedMacs } from '../../credentials/secret-mac.ts'
import type { ClientRow } from '../../registrations/clients/repository.ts'
import type { AssertionUses } from './assertion-uses/assertion-uses.ts'
import type { CredentialProof, MatchedClient } from './credential-proof.ts'
import { KeyAssertion } from './key-assertion.ts'
import type { PresentedClient } from './presented-client.ts'

interface ProofOptions {
  macKeys: { present: (clientId: string, secret: string) => PresentedMacs }
  assertionUses: AssertionUses
  /** The audience of assertions. */
  issuer: string
}

/** Prepares the comparison of what a client presents with rows. A new kind of credential is a case here. */
export function proofOf(options: ProofOptions, { clientId, credential }: PresentedClient): CredentialProof {
  switch (credential.kind) {
    case 'secret': {
      const macs = options.macKeys.present(clientId, credential.secret)
      return { match: row => matchSecret(row, macs) }
    }
    case 'assertion':
      return new KeyAssertion(options, clientId, credential.assertion)
  }
}

/** Compares with both secrets, so that the time says nothing about the row. */
function matchSecret(row: ClientRow, macs: PresentedMacs): MatchedClient | undefined {
  const isCurrent = macs.equals({ keyId: row.secret_mac_key_id, mac: row.secret_mac })
  const isPrevious = macs.equals({ keyId: row.previous_secret_mac_key_id, mac: row.previous_secret_mac })
  if (!row.is_registered || !(isCurrent || isPrevious)) return undefined
  return { row, credential: isCurrent ? 'current' : 'previous' }
}
