import type { Kysely, Transaction } from 'kysely'
import type { Site } from '../../admin-api/site.ts'
import type { Database } from '../../database/schema.ts'
import { type Registration, registrations } from '../repository.ts'

/** Finds the registration that has this key in this Site. */
export function findKeyed({ db, siteId }: Site, key: string): Promise<Registration | undefined> {
  return keyed(db, siteId, key).executeTakeFirst()
}

/** Finds the registration that has this key in this Site, and locks its row until the transaction ends. */
export function lockKeyed(trx: Transaction<Database>, siteId: string, key: string): Promise<Registration | undefined> {
  return keyed(trx, siteId, key).forNoKeyUpdate('registrations').executeTakeFirst()
}

function keyed(db: Kysely<Database>, siteId: string, key: string) {
  return registrations(db)
    .where('key', '=', key) // Index: registrations_key
    .where('site_id', '=', siteId)
}
