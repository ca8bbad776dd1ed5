import type { Kysely, Transaction } from 'kysely'
import { lockUntilCommit } from '../database/advisory-lock.ts'
import type { Database } from '../database/schema.ts'
import { Problem } from '../http/problem.ts'
import type { Site } from './site.ts'

export interface Quota {
  /** Plural name of what is counted, such as `registrations`. */
  of: string
  maxPerSite: number
  /** Counts those of this Site. */
  count: (db: Kysely<Database>, siteId: string) => Promise<number>
}

/**
 * Requires room for one more in this Site, and holds back other creates there until the transaction ends.
 *
 * @throws Problem 409 `quota_exceeded`
 */
export async function requireRoom(trx: Transaction<Database>, siteId: string, quota: Quota): Promise<void> {
  await holdCreates(trx, siteId, quota)
  await requireRoomForOneMore({ siteId, db: trx }, quota)
}

/** Holds back other creates in this Site until the transaction ends. */
export async function holdCreates(trx: Transaction<Database>, siteId: string, { of }: Quota): Promise<void> {
  await lockUntilCommit(trx, `${of} of ${siteId}`)
}

/**
 * Requires room for one more in this Site now. Another create may still take it: `requireRoom` decides.
 *
 * @throws Problem 409 `quota_exceeded`
 */
export async function requireRoomForOneMore({ siteId, db }: Site, { of, maxPerSite, count }: Quota): Promise<void> {
  if ((await count(db, siteId)) < maxPerSite) return
  throw new Problem(409, 'quota_exceeded', `This Site has reached its limit of ${maxPerSite} ${of}. Delete one first.`)
}
