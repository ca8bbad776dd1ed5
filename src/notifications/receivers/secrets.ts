import type { Sealing } from '../../crypto/key-encryption.ts'
import type { NoticeReceiverTable } from '../../database/schema.ts'

export type SealedSecrets = Pick<
  NoticeReceiverTable,
  'id' | 'sealed_secret' | 'sealed_previous_secret' | 'previous_secret_until'
>

const PURPOSE = 'webhook signing secrets'

/** Seals the signing secret of this receiver for the database. */
export function sealSecret(sealing: Sealing, receiverId: string, signingSecret: string): Promise<string> {
  return sealing.seal(PURPOSE, receiverId, signingSecret)
}

/** The same secret under the current key; undefined where it is so already, or no key opens it. */
export async function sealedAnew(sealing: Sealing, receiverId: string, sealed: string): Promise<string | undefined> {
  const opened = await sealing.open(PURPOSE, receiverId, sealed)
  return opened === undefined || opened.isCurrent ? undefined : sealSecret(sealing, receiverId, opened.text)
}

/**
 * The secrets that sign for a receiver now: one, or two while it is being replaced, the new one first.
 *
 * @throws Error that names KEY_ENCRYPTION_KEY when they were sealed under another
 */
export async function openSecrets(sealing: Sealing, row: SealedSecrets, now: number): Promise<string[]> {
  const hasPrevious = row.previous_secret_until !== null && row.previous_secret_until.getTime() > now
  const sealed = [row.sealed_secret, hasPrevious ? row.sealed_previous_secret : null].filter(jwe => jwe !== null)
  return Promise.all(
    sealed.map(async jwe => {
      const opened = await sealing.open(PURPOSE, row.id, jwe)
      if (opened === undefined) throw new Error(`KEY_ENCRYPTION_KEY does not open the secret of receiver ${row.id}`)
      return opened.text
    })
  )
}
