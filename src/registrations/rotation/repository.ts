import type { Transaction } from 'kysely'
import type { NewSecretMac } from '../../credentials/secret-mac.ts'
import type { Database } from '../../database/schema.ts'

/** A secret as the database has it. */
export interface StoredSecret {
  hash: string
  mac: NewSecretMac
  createdAt: Date
}

/** Stores a new secret. The current secret becomes the previous one, and is refused from `previousExpiresAt` on. */
export async function rotateSecret(
  trx: Transaction<Database>,
  clientId: string,
  secret: StoredSecret,
  previousExpiresAt: Date
): Promise<void> {
  await trx
    .updateTable('registrations')
    .set(({ ref, eb }) => ({
      ...columnsOf(secret),
      credential_number: eb('credential_number', '+', 1),
      previous_secret_hash: ref('secret_hash'),
      previous_secret_mac: ref('secret_mac'),
      previous_secret_mac_key_id: ref('secret_mac_key_id'),
      previous_secret_created_at: ref('secret_created_at'),
      previous_secret_expires_at: previousExpiresAt,
      version: eb('version', '+', 1)
    }))
    .where('client_id', '=', clientId) // Index: registrations_pkey
    .execute()
}

/** Stores a new secret in place of the current one. The previous secret stays, and is refused from `previousExpiresAt` on. */
export async function replaceSecret(
  trx: Transaction<Database>,
  clientId: string,
  secret: StoredSecret,
  previousExpiresAt: Date
): Promise<void> {
  await trx
    .updateTable('registrations')
    .set(({ eb }) => ({
      ...columnsOf(secret),
      previous_secret_expires_at: previousExpiresAt,
      version: eb('version', '+', 1)
    }))
    .where('client_id', '=', clientId) // Index: registrations_pkey
    .execute()
}

function columnsOf({ hash, mac, createdAt }: StoredSecret) {
  return {
    secret_hash: hash,
    secret_mac: mac.mac,
    secret_mac_key_id: mac.keyId,
    secret_digest: mac.digest,
    secret_created_at: createdAt
  }
}

/** Refuses the previous secret from this instant on. Its hash stays, so that its use is noticed. */
export async function retirePreviousSecret(trx: Transaction<Database>, clientId: string, at: Date): Promise<void> {
  await trx
    .updateTable('registrations')
    .set(({ eb }) => ({ previous_secret_expires_at: at, version: eb('version', '+', 1) }))
    .where('client_id', '=', clientId) // Index: registrations_pkey
    .execute()
}
