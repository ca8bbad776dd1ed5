import type { Kysely } from 'kysely'
import type { Sealing } from '../../crypto/key-encryption.ts'
import type { Database } from '../../database/schema.ts'
import { type EncryptedReceiver, listEncrypted, replaceEncrypted } from './repository.ts'
import { reencryptSigningSecret } from './signing-secrets.ts'

export interface ReencryptOptions {
  db: Kysely<Database>
  sealing: Sealing
}

/** Receivers that one statement reads. */
const PAGE = 200

/**
 * Encrypts signing secrets that the previous KEY_ENCRYPTION_KEY has encrypted under the current one. The secrets stay
 * the same. Any number of instances may do this at once. A secret that neither key decrypts stays as it is. Without a
 * previous key there is nothing to do.
 *
 * @returns how many secrets this call has encrypted
 */
export async function reencryptSigningSecrets({ db, sealing }: ReencryptOptions): Promise<number> {
  if (!sealing.hasPrevious) return 0
  let count = 0
  let page: EncryptedReceiver[]
  let after: string | undefined
  do {
    page = await listEncrypted(db, after, PAGE)
    for (const row of page) for (const column of COLUMNS) count += await reencrypt({ db, sealing }, row, column)
    after = page.at(-1)?.id
  } while (page.length === PAGE)
  return count
}

const COLUMNS = ['secret_jwe', 'previous_secret_jwe'] as const

/** A rotation may replace the secret meanwhile. Then the statement changes nothing, and the next round sees the new one. */
async function reencrypt(
  { db, sealing }: ReencryptOptions,
  row: EncryptedReceiver,
  column: (typeof COLUMNS)[number]
): Promise<number> {
  const from = row[column]
  const to = from === null ? undefined : await reencryptSigningSecret(sealing, row.id, from)
  if (from === null || to === undefined) return 0
  return (await replaceEncrypted(db, row.id, column, from, to)) ? 1 : 0
}
