import type { Kysely, Transaction } from 'kysely'
import type { CalendarFeedTable, Database } from '../../../database/schema.ts'

/** Finds the Site whose feed has the key of this digest. @param db of all Sites */
export async function findFeedSite(db: Kysely<Database>, keyDigest: Buffer): Promise<string | undefined> {
  const feed = await db
    .selectFrom('calendar_feeds')
    .select('site_id')
    .where('key_digest', '=', keyDigest) // Index: calendar_feeds_key_digest_key
    .executeTakeFirst()
  return feed?.site_id
}

/** Finds when the key of a Site's feed was created. */
export async function findFeedCreation(db: Kysely<Database>, siteId: string): Promise<Date | undefined> {
  const feed = await db
    .selectFrom('calendar_feeds')
    .select('created_at')
    .where('site_id', '=', siteId) // Index: calendar_feeds_pkey
    .executeTakeFirst()
  return feed?.created_at
}

/** Stores the digest of a Site's key in place of the one before. */
export async function replaceFeed(trx: Transaction<Database>, feed: CalendarFeedTable): Promise<void> {
  const { key_digest, created_at } = feed
  await trx
    .insertInto('calendar_feeds')
    .values(feed)
    .onConflict(conflict => conflict.column('site_id').doUpdateSet({ key_digest, created_at }))
    .execute()
}

export async function deleteFeed(trx: Transaction<Database>, siteId: string): Promise<void> {
  await trx
    .deleteFrom('calendar_feeds')
    .where('site_id', '=', siteId) // Index: calendar_feeds_pkey
    .execute()
}
