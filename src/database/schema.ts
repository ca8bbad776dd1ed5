import type { Generated, GeneratedAlways } from 'kysely'

/** The tables as Kysely sees them. `migrations/` creates them. Instants have millisecond precision. */
export interface Database {
  registrations: RegistrationTable
  registration_last_used: RegistrationLastUsedTable
  registration_refusals: RegistrationRefusalsTable
  unused_rounds: { id: Generated<boolean>; began_at: Date }
  unused_round_gaps: { began_at: Date; ended_at: Date }
  assertion_uses: AssertionUseTable
  mac_keys: MacKeyTable
  signing_keys: SigningKeyTable
  claim_tickets: ClaimTicketTable
  token_revocations: TokenRevocationTable
  audit_events: AuditEventTable
  audit_chains: AuditChainTable
  idempotent_answers: IdempotentAnswerTable
  notice_receivers: NoticeReceiverTable
  notices: NoticeTable
  notice_deliveries: NoticeDeliveryTable
  calendar_feeds: CalendarFeedTable
}

export interface RegistrationTable {
  client_id: string
  site_id: string
  /** Names it in files and pipelines; unique in its Site, and never changed. Null for none. */
  key: string | null
  name: string
  name_folded: string
  /** The current credential. Null for a secret, which has the three columns below. They are null for any other kind. */
  credential: StoredCredential | null
  /** Argon2id, PHC string format. */
  secret_hash: string | null
  /** HMAC-SHA-256 of client id, a zero byte and the secret. */
  secret_mac: Buffer | null
  secret_mac_key_id: string | null
  /** Finds the registration by the secret. Null for a secret of release 0.2.0 that has not been used since. */
  secret_digest: Buffer | null
  scopes: string[]
  /** The default audience first. Empty for ACCESS_TOKEN_AUDIENCE. */
  audiences: string[]
  /** Lifetime of access tokens; null for ACCESS_TOKEN_TTL_SECONDS. */
  token_lifetime_seconds: number | null
  /** Whether the client gets only tokens that are bound to its key (RFC 9449). */
  dpop_bound: boolean
  /** Whether the client may introspect the tokens of its Site (RFC 7662). */
  may_introspect: boolean
  enabled: boolean
  /** Tokens issued before are not active. A whole second; null for no cut-off. Triggers move it with `enabled`, and with some renewals. */
  tokens_valid_from: Date | null
  /** Whether the client may exchange its current secret for a new one. */
  self_rotation: boolean
  /** Why grantd has disabled it. Null when an administrator has. */
  disabled_reason: string | null
  /** Whether it may stay unused. */
  may_idle: boolean
  /** When it was enabled again; null for never. */
  enabled_at: Date | null
  unused_noticed_at: Date | null
  registered_at: Date
  expires_at: Date
  /** When `expires_at` got its present value. */
  expiry_set_at: Date
  version: number
  /** Number of the current credential; counts rotations from 1. */
  credential_number: number
  /** Whether nobody has the current secret yet. A trigger resets it with the next credential. */
  unclaimed: boolean
  /** When the current credential was created, whatever its kind. */
  secret_created_at: Date
  /** The credential before the latest rotation. It is kept when retired, so that its use is noticed. */
  previous_credential: StoredCredential | null
  previous_secret_hash: string | null
  previous_secret_mac: Buffer | null
  previous_secret_mac_key_id: string | null
  /** Moves with the hash of its secret: a trigger does that. */
  previous_secret_digest: Generated<Buffer | null>
  /** Null when there was no rotation. These two are those of the previous credential, whatever its kind. */
  previous_secret_created_at: Date | null
  previous_secret_expires_at: Date | null
}

/** A credential that is not a secret, as its column holds it. */
export type StoredCredential =
  | {
      kind: 'key'
      /** JWK thumbprint (RFC 7638). */
      keyId: string
      alg: 'ES256' | 'ES384' | 'EdDSA' | 'PS256' | 'RS256'
      /** The public members that the thumbprint is made of, and nothing else. */
      jwk: Record<string, string>
    }
  | { kind: 'federated'; issuer: string; subject: string }

export interface ClaimTicketTable {
  /** SHA-256 of the ticket. */
  digest: Buffer
  client_id: string
  overlap_seconds: number
  created_at: Date
  expires_at: Date
  used_at: Date | null
  /** When it was first presented again after its use. */
  reused_at: Date | null
}

/** Access tokens that their clients have revoked. */
export interface TokenRevocationTable {
  client_id: string
  jti: string
  /** `exp` of the token. */
  ends_at: Date
}

export interface RegistrationLastUsedTable {
  client_id: string
  /** Null for never. */
  last_used_at: Date | null
  /** Use of the credentials whose number is odd. */
  odd_credential_used_at: Date | null
  even_credential_used_at: Date | null
  /** Start of the minute of the latest use; -infinity for never. Postgres computes it. */
  last_used_minute: GeneratedAlways<Date>
  exchange_count: Generated<number>
  /** Number of digits of the count, and its first two digits: see registrations/listing/exchange-count.ts. */
  exchange_count_bucket: Generated<number>
}

/** The latest refused token requests. The columns of a slot are null together. */
export interface RegistrationRefusalsTable {
  client_id: string
  with_credential_at: Date | null
  with_credential_reason: string | null
  with_credential_source: string | null
  with_credential_count: Generated<number>
  without_credential_at: Date | null
  without_credential_reason: string | null
  without_credential_source: string | null
  without_credential_count: Generated<number>
}

/** Assertions that a client has used. See oauth/client-authentication/assertion-uses/repository.ts. */
export interface AssertionUseTable {
  client_id: string
  /** 64-bit integers as text. */
  digests: string[]
  /** When the assertion of the digest at the same place ends. */
  ends: Date[]
  /** How many digests the latest statement has added. */
  added: number
  /** Digests of assertions that ended by then may have been dropped. */
  dropped_until: Date
}

export interface MacKeyTable {
  key_id: string
  /** 32 bytes as a compact JWE. */
  encrypted_key: string
  created_at: Generated<Date>
}

export interface SigningKeyTable {
  kid: string
  algorithm: 'ES256' | 'RS256' | 'EdDSA'
  public_jwk: Record<string, unknown>
  /** The private JWK as a compact JWE. */
  private_jwe: string
  /** SHA-256 of a proof that only the KEY_ENCRYPTION_KEY of `private_jwe` yields. */
  proof_hash: Buffer
  created_at: Date
  /** Counts keys of all algorithms. */
  generation: number
  signs_from: Date
  signs_until: Date
}

export interface AuditEventTable {
  site_id: string
  /** Counts the events of the Site, from 1 on. */
  sequence: number
  occurred_at: Date
  action: string
  /** Client id of the registration, or id of what else was acted on. */
  subject: string
  actor: string
  actor_issuer: string
  request_id: string
  source: string
  /** Per field its value before and after. */
  changes: Record<string, { from: unknown; to: unknown }>
  /** 32 bytes each. */
  previous_hash: Buffer
  hash: Buffer
}

export interface AuditChainTable {
  site_id: string
  /** The newest event. */
  sequence: number
  hash: Buffer
  /** The newest event that retention has deleted. */
  pruned_sequence: number
  pruned_hash: Buffer
}

export interface IdempotentAnswerTable {
  /** 32 bytes. */
  key_digest: Buffer
  /** The answer with its secret, encrypted. See registrations/idempotency/sealed-answer.ts. */
  sealed: Buffer
  expires_at: Date
}

export interface NoticeReceiverTable {
  id: string
  site_id: string
  /** One of the channels that src/notifications/channels has. */
  kind: string
  /** Where the receiver is, as its channel defines it. */
  target: Record<string, unknown>
  /** Null for all. */
  steps: number[] | null
  /** The signing secret as a compact JWE; null for a channel that does not sign. */
  secret_jwe: string | null
  previous_secret_jwe: string | null
  previous_secret_expires_at: Date | null
  created_at: Date
}

export interface NoticeTable {
  id: string
  site_id: string
  client_id: string
  name: string
  enabled: boolean
  expires_at: Date
  /** `expiry`, or another of src/notifications/types.ts. */
  type: Generated<string>
  /** Members of the event that depend on its type. */
  details: Generated<Record<string, unknown>>
  /** Days before expiry. Null for a notice of another type. */
  step: number | null
  fired_at: Date
}

export interface NoticeDeliveryTable {
  id: string
  notice_id: string
  site_id: string
  /** Null for the receiver of this kind that the configuration names. */
  receiver_id: string | null
  kind: string
  /** Names the receiver: its id, or the kind of a receiver of the configuration. */
  queue: GeneratedAlways<string>
  state: 'pending' | 'delivered' | 'dead' | 'cancelled'
  attempts: number
  due_at: Date
  last_attempt_at: Date | null
  delivered_at: Date | null
  last_error: string | null
  /** Recipients that have it although others refused it. */
  reached: Generated<string[]>
}

export interface CalendarFeedTable {
  site_id: string
  /** SHA-256 of the key in the URL. */
  key_digest: Buffer
  created_at: Date
}
