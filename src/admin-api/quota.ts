import type { Transaction } from 'kysely'
import { lockUntilCommit } from '../database/advisory-lock.ts'
import type { Database } from '../database/schema.ts'
import { Problem } from '../http/problem.ts'

export interface Quota {
  /** Plural name of what is counted, such as `registrations`. */
  of: string
  maxPerSite: number
  /** Counts those of this Site. */
  count: (trx: Transaction<Database>, siteId: string) => Promise<number>
}

/**
 * Requires room for one more in this Site, and holds back other creates there until the transaction ends.
 *
 * @throws Problem 409 `quota_exceeded`
 */
export async function requireRoom(
  trx: Transaction<Database>,
  siteId: string,
  { of, maxPerSite, count }: Quota
): Promise<void> {
  await lockUntilCommit(trx, `${of} of ${siteId}`)
  if ((await count(trx, siteId)) < maxPerSite) return
  throw new Problem(409, 'quota_exceeded', `This Site has reached its limit of ${maxPerSite} ${of}. Delete one first.`)
}
