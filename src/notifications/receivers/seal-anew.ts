import type { Kysely } from 'kysely'
import type { Sealing } from '../../crypto/key-encryption.ts'
import type { Database } from '../../database/schema.ts'
import { listSealed, replaceSeal, type SealedReceiver } from './repository.ts'
import { sealedAnew } from './secrets.ts'

export interface SealAnewNeeds {
  db: Kysely<Database>
  sealing: Sealing
}

/** Receivers that one statement reads. */
const PAGE = 200

/**
 * Puts signing secrets that the previous KEY_ENCRYPTION_KEY has sealed under the current one: the same secrets, each
 * once over any number of instances. What neither opens stays as it is. Without a previous key there is nothing to do.
 *
 * @returns how many seals were replaced here
 */
export async function sealSecretsAnew({ db, sealing }: SealAnewNeeds): Promise<number> {
  if (!sealing.hasPrevious) return 0
  let count = 0
  let page: SealedReceiver[]
  let after: string | undefined
  do {
    page = await listSealed(db, after, PAGE)
    for (const row of page) for (const column of SEALED_COLUMNS) count += await sealAnew({ db, sealing }, row, column)
    after = page.at(-1)?.id
  } while (page.length === PAGE)
  return count
}

const SEALED_COLUMNS = ['sealed_secret', 'sealed_previous_secret'] as const

/** A statement each: one that rotation has moved or replaced meanwhile is left to the next time. */
async function sealAnew(
  { db, sealing }: SealAnewNeeds,
  row: SealedReceiver,
  column: (typeof SEALED_COLUMNS)[number]
): Promise<number> {
  const from = row[column]
  const to = from === null ? undefined : await sealedAnew(sealing, row.id, from)
  if (from === null || to === undefined) return 0
  return (await replaceSeal(db, row.id, column, from, to)) ? 1 : 0
}
