import type { Kysely, Transaction } from 'kysely'
import { lockUntilCommit } from '../database/advisory-lock.ts'
import type { Database } from '../database/schema.ts'

export interface EncryptedMacKey {
  key_id: string
  encrypted_key: string
}

/** Lists the MAC keys, newest first. A handful of rows. */
export function listMacKeys(db: Kysely<Database>): Promise<EncryptedMacKey[]> {
  return db
    .selectFrom('mac_keys')
    .select(['key_id', 'encrypted_key'])
    .orderBy('created_at', 'desc')
    .orderBy('key_id')
    .execute()
}

/** Holds back other instances that may create a key, until the transaction ends. */
export function lockMacKeys(trx: Transaction<Database>): Promise<void> {
  return lockUntilCommit(trx, 'MAC keys')
}

export async function insertMacKey(trx: Transaction<Database>, row: EncryptedMacKey): Promise<void> {
  await trx.insertInto('mac_keys').values(row).execute()
}

/** Replaces the encryption of a key, unless another instance has replaced it meanwhile. */
export async function replaceEncryptedMacKey(
  db: Kysely<Database>,
  keyId: string,
  from: string,
  to: string
): Promise<void> {
  await db
    .updateTable('mac_keys')
    .set({ encrypted_key: to })
    .where('key_id', '=', keyId) // Index: mac_keys_pkey
    .where('encrypted_key', '=', from)
    .execute()
}

/** Deletes a key unless a registration has a MAC under it. Reads the whole table of registrations. @returns whether none has */
export async function deleteUnusedMacKey(db: Kysely<Database>, keyId: string): Promise<boolean> {
  const { isUsed } = await db
    .selectNoFrom(({ exists, selectFrom }) =>
      exists(
        selectFrom('registrations')
          .select('client_id')
          .where(eb => eb.or([eb('secret_mac_key_id', '=', keyId), eb('previous_secret_mac_key_id', '=', keyId)]))
      ).as('isUsed')
    )
    .executeTakeFirstOrThrow()
  if (isUsed) return false
  await db
    .deleteFrom('mac_keys')
    .where('key_id', '=', keyId) // Index: mac_keys_pkey
    .execute()
  return true
}
