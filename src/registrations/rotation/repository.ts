import { sql, type Transaction } from 'kysely'
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

/** Stores a new credential in place of the current one. The previous one is refused from `previousExpiresAt` on. */
export async function replaceCredential(
  trx: Transaction<Database>,
  clientId: string,
  columns: StoredCredentialColumns,
  previousExpiresAt: Date
): Promise<void> {
  await trx
    .updateTable('registrations')
    .set(({ eb }) => ({
      ...columns,
      previous_secret_expires_at: previousExpiresAt,
      version: eb('version', '+', 1)
    }))
    .where('client_id', '=', clientId) // Index: registrations_pkey
    .execute()
}

/**
 * Stores the first credential that somebody has, in place of one that nobody knows. A previous credential ends no later than
 * `previousExpiresAt`. One that has ended never comes back: it may be one that has leaked.
 */
export async function putFirstCredential(
  trx: Transaction<Database>,
  clientId: string,
  columns: StoredCredentialColumns,
  previousExpiresAt: Date
): Promise<void> {
  await trx
    .updateTable('registrations')
    .set(({ eb }) => ({
      ...columns,
      // Null without a previous credential. `least` would ignore the null.
      previous_secret_expires_at: sql<Date | null>`case when previous_secret_expires_at > ${previousExpiresAt}
        then ${previousExpiresAt} else previous_secret_expires_at end`,
      version: eb('version', '+', 1)
    }))
    .where('client_id', '=', clientId) // Index: registrations_pkey
    .execute()
}

/** Refuses the previous credential from this instant on. It stays, so that its use is noticed. */
export async function retirePreviousCredential(trx: Transaction<Database>, clientId: string, at: Date): Promise<void> {
  await trx
    .updateTable('registrations')
    .set(({ eb }) => ({ previous_secret_expires_at: at, version: eb('version', '+', 1) }))
    .where('client_id', '=', clientId) // Index: registrations_pkey
    .execute()
}
