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
  /** Counts rotations, from 1. */
  secret_number: number
  /** Null: with the registration. */
  secret_created_at: Date | null
  /** The last six characters of the secret; null before the first rotation. */
  secret_checksum: string | null
  /** Kept when retired, so that its use is noticed. */
  previous_secret_hash: string | null
  previous_secret_expires_at: Date | null
}

export interface RegistrationLastUsedTable {
  client_id: string
  last_used_at: Date
  /** Of the secrets whose number is odd. */
  odd_secret_used_at: Date | null
  even_secret_used_at: Date | null
}

export interface SigningKeyTable {
  kid: string
  algorithm: 'ES256' | 'RS256' | 'EdDSA'
  public_jwk: Record<string, unknown>
  /** The private JWK as a compact JWE. */
  private_jwe: string
  created_at: Date
}
