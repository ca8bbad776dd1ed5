import type { StoredCredential } from '../database/schema.ts'

/** The kinds of credential. Each proves a client in a way of its own. */
export const CREDENTIAL_KINDS = ['secret', 'key', 'federated'] as const
export type CredentialKind = (typeof CREDENTIAL_KINDS)[number]

/** A public key whose private half the client holds. It signs assertions (RFC 7523). */
export type KeyCredential = Extract<StoredCredential, { kind: 'key' }>

/** A workload that a trusted issuer vouches for. Issuer and subject are compared exactly. */
export type FederatedCredential = Extract<StoredCredential, { kind: 'federated' }>

/** A secret. Its hash and its MAC are in columns of their own. */
export interface SecretCredential {
  kind: 'secret'
}

export type Credential = SecretCredential | KeyCredential | FederatedCredential

/** Returns the credential of a column. */
export function credentialOf(stored: StoredCredential | null): Credential {
  return stored ?? SECRET
}

export const SECRET: SecretCredential = { kind: 'secret' }
