import type { Transaction } from 'kysely'
import type { Database } from '../../database/schema.ts'
import type { CurrentCredentialColumns } from '../repository.ts'

/** A new credential as the database has it. */
export type StoredCredentialColumns = CurrentCredentialColumns & { secret_created_at: Date }

/**
 * Stores a new credential. The current one becomes the previous one, and is refused from `previousExpiresAt` on. A trigger
 * moves the digest of a secret.
 */
export async function rotateCredential(
  trx: Transaction<Database>,
  clientId: string,
  columns: StoredCredentialColumns,
  previousExpiresAt: Date
): Promise<void> {
  await trx
    .updateTable('registrations')
    .set(({ ref, eb }) => ({
      ...columns,
      credential_number: eb('credential_number', '+', 1),
      previous_credential: ref('credential'),
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
