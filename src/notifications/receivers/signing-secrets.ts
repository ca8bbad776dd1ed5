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

/** Tells administrators why a receiver gets nothing, and what to do. */
export const SIGNING_SECRET_LOST = 'its signing secret cannot be decrypted: rotate it'

/** The signing secret of a receiver was encrypted by a KEY_ENCRYPTION_KEY that this instance does not have. */
export class SigningSecretLost extends Error {
  constructor(receiverId: string) {
    super(`KEY_ENCRYPTION_KEY does not decrypt the secret of receiver ${receiverId}`)
    this.name = 'SigningSecretLost'
  }
}

/**
 * Decrypts the secrets that sign for a receiver now: none for a channel that does not sign, two while a secret is being
 * replaced. The newest comes first. A previous secret that cannot be decrypted is left out, so that rotating the secret
 * is the cure after KEY_ENCRYPTION_KEY was lost.
 *
 * @param now milliseconds since the epoch
 * @throws SigningSecretLost
 */
export async function decryptSigningSecrets(sealing: Sealing, row: EncryptedSecrets, now: number): Promise<string[]> {
  const hasPrevious = row.previous_secret_expires_at !== null && row.previous_secret_expires_at.getTime() > now
  const decrypt = async (jwe: string | null) =>
    jwe === null ? undefined : (await sealing.open(PURPOSE, row.id, jwe))?.text
  const current = await decrypt(row.secret_jwe)
  if (row.secret_jwe !== null && current === undefined) throw new SigningSecretLost(row.id)
  const previous = hasPrevious ? await decrypt(row.previous_secret_jwe) : undefined
  return [current, previous].filter(secret => secret !== undefined)
}
