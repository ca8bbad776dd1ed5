import type { Transaction } from 'kysely'
import type { AuditContext } from '../../../admin-api/audit-context.ts'
import { instantOrNull } from '../../../admin-api/instant.ts'
import type { Site } from '../../../admin-api/site.ts'
import { recordEvent } from '../../../audit/record.ts'
import { lockUntilCommit } from '../../../database/advisory-lock.ts'
import type { Database } from '../../../database/schema.ts'
import { notFound } from '../../../http/problem.ts'
import { createFeedKey, digestFeedKey } from './feed-key.ts'
import { deleteFeed, findFeedCreation, replaceFeed } from './repository.ts'

/**
 * Gives a Site's calendar feed a new key. The key before it ends with this transaction.
 *
 * @param now milliseconds since the epoch
 * @returns the key, which is nowhere else
 */
export async function replaceFeedKey({ siteId, db }: Site, now: number, context: AuditContext): Promise<string> {
  const key = createFeedKey()
  const createdAt = new Date(now)
  await db.transaction().execute(async trx => {
    const before = await lockFeed(trx, siteId)
    await replaceFeed(trx, { site_id: siteId, key_digest: digestFeedKey(key), created_at: createdAt })
    const action = before === undefined ? 'calendar_feed.created' : 'calendar_feed.replaced'
    await recordEvent(trx, { siteId, at: now, action, subject: siteId, changes: changes(before, createdAt), context })
  })
  return key
}

/** Ends the key of a Site's calendar feed. @param now milliseconds since the epoch @throws Problem 404 when it has none */
export async function revokeFeedKey({ siteId, db }: Site, now: number, context: AuditContext): Promise<void> {
  await db.transaction().execute(async trx => {
    const before = await lockFeed(trx, siteId)
    if (before === undefined) throw notFound()
    await deleteFeed(trx, siteId)
    const action = 'calendar_feed.revoked'
    await recordEvent(trx, { siteId, at: now, action, subject: siteId, changes: changes(before, undefined), context })
  })
}

/** Holds back other changes of this feed, also while it has no row. @returns when its key was created */
async function lockFeed(trx: Transaction<Database>, siteId: string): Promise<Date | undefined> {
  await lockUntilCommit(trx, `calendar feed of ${siteId}`)
  return findFeedCreation(trx, siteId)
}

function changes(from: Date | undefined, to: Date | undefined) {
  return { createdAt: { from: instantOrNull(from), to: instantOrNull(to) } }
}
