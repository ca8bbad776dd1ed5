/** The tables as Kysely sees them; `migrations/` is where they are made. Instants have millisecond precision. */
export interface Database {
  registrations: RegistrationTable
  registration_last_used: RegistrationLastUsedTable
  signing_keys: SigningKeyTable
  notice_receivers: NoticeReceiverTable
  notices: NoticeTable
  notice_deliveries: NoticeDeliveryTable
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
  /** When `expires_at` got its present value. */
  expiry_set_at: Date
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
}

export interface NoticeReceiverTable {
  id: string
  site_id: string
  kind: 'webhook' | 'mail'
  url: string | null
  addresses: string[] | null
  /** Null for all. */
  steps: number[] | null
  /** The signing secret as a compact JWE. */
  sealed_secret: string | null
  sealed_previous_secret: string | null
  previous_secret_until: Date | null
  created_at: Date
}

export interface NoticeTable {
  id: string
  site_id: string
  client_id: string
  name: string
  enabled: boolean
  expires_at: Date
  /** Days before expiry. */
  step: number
  fired_at: Date
}

export interface NoticeDeliveryTable {
  id: string
  notice_id: string
  /** Of `notice_receivers`, or one that stands for a receiver of the configuration. */
  receiver_id: string
  kind: 'webhook' | 'mail'
  state: 'pending' | 'delivered' | 'dead' | 'cancelled'
  attempts: number
  due_at: Date
  last_attempt_at: Date | null
  delivered_at: Date | null
  last_error: string | null
}
