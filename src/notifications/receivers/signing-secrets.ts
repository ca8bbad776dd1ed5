import type { Sealing } from '../../crypto/key-encryption.ts'
import type { NoticeReceiverTable } from '../../database/schema.ts'

/** The encrypted signing secrets of a receiver. */
export type EncryptedSecrets = Pick<
  NoticeReceiverTable,
  'id' | 'secret_jwe' | 'previous_secret_jwe' | 'previous_secret_expires_at'
>

const PURPOSE = 'webhook signing secrets'

/** Encrypts the signing secret of a receiver for the database. */
export function encryptSigningSecret(sealing: Sealing, receiverId: string, signingSecret: string): Promise<string> {
  return sealing.seal(PURPOSE, receiverId, signingSecret)
}

/** Returns the same secret under the current key; undefined when it already is, or when no key decrypts it. */
export async function reencryptSigningSecret(
  sealing: Sealing,
  receiverId: string,
  jwe: string
): Promise<string | undefined> {
  const opened = await sealing.open(PURPOSE, receiverId, jwe)
  return opened === undefined || opened.isCurrent ? undefined : encryptSigningSecret(sealing, receiverId, opened.text)
}

/**
 * Decrypts the secrets that sign for a receiver now: none for a channel that does not sign, two while a secret is being
 * replaced. The newest comes first.
 *
 * @param now milliseconds since the epoch
 * @throws Error that names KEY_ENCRYPTION_KEY when another key has encrypted them
 */
export async function decryptSigningSecrets(sealing: Sealing, row: EncryptedSecrets, now: number): Promise<string[]> {
  const hasPrevious = row.previous_secret_expires_at !== null && row.previous_secret_expires_at.getTime() > now
  const encrypted = [row.secret_jwe, hasPrevious ? row.previous_secret_jwe : null].filter(jwe => jwe !== null)
  return Promise.all(
    encrypted.map(async jwe => {
      const opened = await sealing.open(PURPOSE, row.id, jwe)
      if (opened === undefined) throw new Error(`KEY_ENCRYPTION_KEY does not decrypt the secret of receiver ${row.id}`)
      return opened.text
    })
  )
}
