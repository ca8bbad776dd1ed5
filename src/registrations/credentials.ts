/** Rules over the current and the previous credential of a registration. */

import { type Credential, credentialOf } from '../credentials/credential.ts'
import type { StoredCredential } from '../database/schema.ts'

/** The columns that describe the two credentials, without anything that proves a secret. */
export interface CredentialColumns {
  credential: StoredCredential | null
  previous_credential: StoredCredential | null
  credential_number: number
  secret_created_at: Date
  previous_secret_created_at: Date | null
  previous_secret_expires_at: Date | null
  odd_credential_used_at: Date | null
  even_credential_used_at: Date | null
}

/** Returns the latest exchange with each credential. It is null when there was none since the credential was created. */
export function credentialUses(columns: CredentialColumns): { current: Date | null; previous: Date | null } {
  const { odd_credential_used_at: odd, even_credential_used_at: even } = columns
  const [current, previous] = columns.credential_number % 2 === 1 ? [odd, even] : [even, odd]
  // An older use belongs to an earlier credential whose number was odd, or even, as well.
  const since = (used: Date | null, createdAt: Date | null) =>
    used !== null && createdAt !== null && used >= createdAt ? used : null
  return {
    current: since(current, columns.secret_created_at),
    previous: since(previous, columns.previous_secret_created_at)
  }
}

/**
 * Returns the credential before the latest rotation, as long as it is accepted.
 *
 * @param now milliseconds since the epoch
 */
export function previousCredentialOf(
  columns: CredentialColumns,
  now: number
): { credential: Credential; createdAt: Date; lastUsedAt: Date | null; expiresAt: Date } | undefined {
  const { previous_secret_created_at: createdAt, previous_secret_expires_at: expiresAt } = columns
  if (createdAt === null || expiresAt === null || expiresAt.getTime() <= now) return undefined
  const credential = credentialOf(columns.previous_credential)
  return { credential, createdAt, lastUsedAt: credentialUses(columns).previous, expiresAt }
}

/** Whether two credentials are the same key with the same algorithm, or the same subject. Secrets are never the same. */
export function isSameCredential(one: Credential | undefined, other: Credential | undefined): boolean {
  if (one?.kind === 'key' && other?.kind === 'key') return one.keyId === other.keyId && one.alg === other.alg
  if (one?.kind !== 'federated' || other?.kind !== 'federated') return false
  return one.issuer === other.issuer && one.subject === other.subject
}

/** Returns a credential in the words of an audit event or an answer: nothing that proves it, and no key material. */
export function describeCredential(credential: Credential) {
  if (credential.kind !== 'key') return credential
  const { kind, keyId, alg } = credential
  return { kind, keyId, alg }
}
