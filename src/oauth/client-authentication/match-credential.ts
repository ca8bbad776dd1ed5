import type { PresentedMacs } from '../../credentials/secret-mac.ts'
import type { ClientRow } from '../../registrations/clients/repository.ts'
import type { PresentedClient } from './presented-client.ts'

/** A client that has presented one of its credentials. */
export interface MatchedClient {
  row: ClientRow
  /** Which one: during a rotation there are two. */
  credential: 'current' | 'previous'
}

/** Compares what a client presents with a row. Undefined when none of the row's credentials matches. */
export type MatchCredential = (row: ClientRow) => MatchedClient | undefined

interface MacKeys {
  present: (clientId: string, secret: string) => PresentedMacs
}

/** Prepares the comparison of what a client presents with rows. A new kind of credential is a case here. */
export function credentialMatcher(macKeys: MacKeys, { clientId, credential }: PresentedClient): MatchCredential {
  switch (credential.kind) {
    case 'secret': {
      const macs = macKeys.present(clientId, credential.secret)
      return row => matchSecret(row, macs)
    }
    case 'assertion':
      return () => undefined
  }
}

/** Compares with both secrets, so that the time says nothing about the row. */
function matchSecret(row: ClientRow, macs: PresentedMacs): MatchedClient | undefined {
  const isCurrent = macs.equals({ keyId: row.secret_mac_key_id, mac: row.secret_mac })
  const isPrevious = macs.equals({ keyId: row.previous_secret_mac_key_id, mac: row.previous_secret_mac })
  if (!row.is_registered || !(isCurrent || isPrevious)) return undefined
  return { row, credential: isCurrent ? 'current' : 'previous' }
}
