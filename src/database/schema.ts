import type { Generated } from 'kysely'

/** The tables as Kysely sees them; `migrations/` is where they are made. Instants have millisecond precision. */
export interface Database {
  registrations: RegistrationTable
  registration_last_used: RegistrationLastUsedTable
  signing_keys: SigningKeyTable
}

export interface RegistrationTable {
  client_id: string
  site_id: string
  name: string
  name_folded: string
  /** Argon2id, PHC string format. */
  secret_hash: string
  scopes: string[]
  enabled: boolean
  registered_at: Date
  expires_at: Date
  version: number
}

export interface RegistrationLastUsedTable {
  client_id: string
  last_used_at: Date
}

export interface SigningKeyTable {
  kid: string
  algorithm: 'ES256' | 'RS256' | 'EdDSA'
  public_jwk: Record<string, unknown>
  /** The private JWK as a compact JWE. */
  private_jwe: string
  created_at: Date
  /** Counts keys of all algorithms; null for one that an instance of the release before has made. */
  generation: Generated<number | null>
  signs_from: Generated<Date>
  signs_until: Generated<Date>
}
