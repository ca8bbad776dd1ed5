import type { Kysely } from 'kysely'
import type { MacKeys } from '../../credentials/mac-keys.ts'
import { isWellFormedSecret } from '../../credentials/secret.ts'
import type { Database } from '../../database/schema.ts'
import { type FoundSecret, findByDigests } from './repository.ts'

export type SecretMatch = Pick<FoundSecret, 'client_id' | 'site_id' | 'credential' | 'created_at'>

/**
 * Finds the registration of each secret, current or previous, accepted or not. Undefined for a secret of none.
 *
 * Text that grantd cannot have made costs a checksum. All other secrets share one look-up by their digests. A digest only
 * finds a row, and the MAC of the row decides.
 */
export async function findSecrets(
  db: Kysely<Database>,
  macKeys: Pick<MacKeys, 'digests' | 'present'>,
  secrets: readonly string[]
): Promise<(SecretMatch | undefined)[]> {
  const wanted = secrets.flatMap((secret, index) =>
    isWellFormedSecret(secret) ? macKeys.digests(secret).map(digest => ({ index, secret, digest })) : []
  )
  const matches = secrets.map((): SecretMatch | undefined => undefined)
  if (wanted.length === 0) return matches
  const found = await findByDigests(
    db,
    wanted.map(({ digest }) => digest)
  )
  for (const row of found) {
    const given = wanted[row.place]
    if (given === undefined) continue
    const isProved = macKeys.present(row.client_id, given.secret).equals({ keyId: row.mac_key_id, mac: row.mac })
    if (isProved) matches[given.index] = row
  }
  return matches
}
