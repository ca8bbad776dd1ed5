import type { Kysely, Transaction } from 'kysely'
import type { Database, NoticeReceiverTable } from '../../database/schema.ts'

/** A receiver without its secrets. */
export type Receiver = Omit<NoticeReceiverTable, 'secret_jwe' | 'previous_secret_jwe'>

const COLUMNS = ['id', 'site_id', 'kind', 'target', 'steps', 'previous_secret_expires_at', 'created_at'] as const

/** Reads all receivers of a Site, the oldest first. The quota bounds their number. */
export function listReceivers(db: Kysely<Database>, siteId: string): Promise<Receiver[]> {
  return db
    .selectFrom('notice_receivers')
    .select(COLUMNS)
    .where('site_id', '=', siteId) // Index: notice_receivers_site_id
    .orderBy('created_at')
    .orderBy('id')
    .execute()
}

export function findReceiver(db: Kysely<Database>, siteId: string, id: string): Promise<Receiver | undefined> {
  return db
    .selectFrom('notice_receivers')
    .select(COLUMNS)
    .where('id', '=', id) // Index: notice_receivers_pkey
    .where('site_id', '=', siteId)
    .executeTakeFirst()
}

/** Finds a receiver with its encrypted secrets. */
export function findReceiverWithSecrets(
  db: Kysely<Database>,
  siteId: string,
  id: string
): Promise<NoticeReceiverTable | undefined> {
  return db
    .selectFrom('notice_receivers')
    .select([...COLUMNS, 'secret_jwe', 'previous_secret_jwe'])
    .where('id', '=', id) // Index: notice_receivers_pkey
    .where('site_id', '=', siteId)
    .executeTakeFirst()
}

/** Finds a receiver and locks its row until the transaction ends. */
export function lockReceiver(trx: Transaction<Database>, siteId: string, id: string): Promise<Receiver | undefined> {
  return trx
    .selectFrom('notice_receivers')
    .select(COLUMNS)
    .where('id', '=', id) // Index: notice_receivers_pkey
    .where('site_id', '=', siteId)
    .forUpdate()
    .executeTakeFirst()
}

/** Counts the receivers of a Site. */
export async function countOfSite(db: Kysely<Database>, siteId: string): Promise<number> {
  const { count } = await db
    .selectFrom('notice_receivers')
    .select(eb => eb.cast<number>(eb.fn.countAll(), 'integer').as('count'))
    .where('site_id', '=', siteId) // Index: notice_receivers_site_id
    .executeTakeFirstOrThrow()
  return count
}

export async function insertReceiver(trx: Transaction<Database>, row: NoticeReceiverTable): Promise<void> {
  await trx.insertInto('notice_receivers').values(row).execute()
}

export async function updateReceiver(
  trx: Transaction<Database>,
  id: string,
  change: Pick<NoticeReceiverTable, 'target' | 'steps'>
): Promise<void> {
  await trx
    .updateTable('notice_receivers')
    .set(change)
    .where('id', '=', id) // Index: notice_receivers_pkey
    .execute()
}

/** Stores a new secret. The current one becomes the previous one and signs until this instant. */
export async function beginOverlap(
  trx: Transaction<Database>,
  id: string,
  jwe: string,
  previousExpiresAt: Date
): Promise<void> {
  await trx
    .updateTable('notice_receivers')
    .set(eb => ({
      secret_jwe: jwe,
      previous_secret_jwe: eb.ref('secret_jwe'),
      previous_secret_expires_at: previousExpiresAt
    }))
    .where('id', '=', id) // Index: notice_receivers_pkey
    .execute()
}

/** Stores a new secret. The current one signs no more. */
export async function replaceSecret(trx: Transaction<Database>, id: string, jwe: string): Promise<void> {
  await trx
    .updateTable('notice_receivers')
    .set({ secret_jwe: jwe })
    .where('id', '=', id) // Index: notice_receivers_pkey
    .execute()
}

export async function deleteReceiver(trx: Transaction<Database>, id: string): Promise<void> {
  await trx
    .deleteFrom('notice_receivers')
    .where('id', '=', id) // Index: notice_receivers_pkey
    .execute()
}

export type EncryptedReceiver = Pick<NoticeReceiverTable, 'id' | 'secret_jwe' | 'previous_secret_jwe'>

/** Reads receivers of all Sites that have a signing secret, in the order of their ids. @param after id to continue after */
export function listEncrypted(
  db: Kysely<Database>,
  after: string | undefined,
  limit: number
): Promise<EncryptedReceiver[]> {
  const query = db
    .selectFrom('notice_receivers')
    .select(['id', 'secret_jwe', 'previous_secret_jwe'])
    .where('secret_jwe', 'is not', null)
    .orderBy('id') // Index: notice_receivers_pkey
    .limit(limit)
  return (after === undefined ? query : query.where('id', '>', after)).execute()
}

/** Replaces an encrypted secret, unless it has changed meanwhile. @returns whether it was replaced */
export async function replaceEncrypted(
  db: Kysely<Database>,
  id: string,
  column: 'secret_jwe' | 'previous_secret_jwe',
  from: string,
  to: string
): Promise<boolean> {
  const { numUpdatedRows } = await db
    .updateTable('notice_receivers')
    .set({ [column]: to })
    .where('id', '=', id) // Index: notice_receivers_pkey
    .where(column, '=', from)
    .executeTakeFirstOrThrow()
  return numUpdatedRows > 0n
}
