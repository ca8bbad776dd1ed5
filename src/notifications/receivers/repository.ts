import type { Kysely, Transaction } from 'kysely'
import type { Database, NoticeReceiverTable } from '../../database/schema.ts'

/** What administrators see of a receiver: all but its secrets. */
export type Receiver = Omit<NoticeReceiverTable, 'sealed_secret' | 'sealed_previous_secret'>

const COLUMNS = ['id', 'site_id', 'kind', 'url', 'addresses', 'steps', 'previous_secret_until', 'created_at'] as const

/** All of a Site, the oldest first. Its quota bounds them. */
export function listReceivers(db: Kysely<Database>, siteId: string): Promise<Receiver[]> {
  return db
    .selectFrom('notice_receivers')
    .select(COLUMNS)
    .where('site_id', '=', siteId) // served by notice_receivers_site_id
    .orderBy('created_at')
    .orderBy('id')
    .execute()
}

export function findReceiver(db: Kysely<Database>, siteId: string, id: string): Promise<Receiver | undefined> {
  return db
    .selectFrom('notice_receivers')
    .select(COLUMNS)
    .where('id', '=', id) // served by notice_receivers_pkey
    .where('site_id', '=', siteId)
    .executeTakeFirst()
}

/** With its sealed secrets, to send to it. */
export function findReceiverWithSecrets(
  db: Kysely<Database>,
  siteId: string,
  id: string
): Promise<NoticeReceiverTable | undefined> {
  return db
    .selectFrom('notice_receivers')
    .select([...COLUMNS, 'sealed_secret', 'sealed_previous_secret'])
    .where('id', '=', id) // served by notice_receivers_pkey
    .where('site_id', '=', siteId)
    .executeTakeFirst()
}

/** @returns the row, locked until the end of the transaction */
export function lockReceiver(trx: Transaction<Database>, siteId: string, id: string): Promise<Receiver | undefined> {
  return trx
    .selectFrom('notice_receivers')
    .select(COLUMNS)
    .where('id', '=', id) // served by notice_receivers_pkey
    .where('site_id', '=', siteId)
    .forUpdate()
    .executeTakeFirst()
}

/** Counts the receivers of a Site. */
export async function countOfSite(db: Kysely<Database>, siteId: string): Promise<number> {
  const { count } = await db
    .selectFrom('notice_receivers')
    .select(eb => eb.cast<number>(eb.fn.countAll(), 'integer').as('count'))
    .where('site_id', '=', siteId) // served by notice_receivers_site_id
    .executeTakeFirstOrThrow()
  return count
}

export async function insertReceiver(trx: Transaction<Database>, row: NoticeReceiverTable): Promise<void> {
  await trx.insertInto('notice_receivers').values(row).execute()
}

export type ReceiverChange = Partial<Pick<NoticeReceiverTable, 'url' | 'addresses' | 'steps'>>

export async function updateReceiver(trx: Transaction<Database>, id: string, change: ReceiverChange): Promise<void> {
  await trx
    .updateTable('notice_receivers')
    .set(change)
    .where('id', '=', id) // served by notice_receivers_pkey
    .execute()
}

/** Puts a new secret in place of the present one, which goes on signing beside it until this instant. */
/** The one so far goes on signing until then. */
export async function beginOverlap(
  trx: Transaction<Database>,
  id: string,
  sealedSecret: string,
  previousUntil: Date
): Promise<void> {
  await trx
    .updateTable('notice_receivers')
    .set(eb => ({
      sealed_secret: sealedSecret,
      sealed_previous_secret: eb.ref('sealed_secret'),
      previous_secret_until: previousUntil
    }))
    .where('id', '=', id) // served by notice_receivers_pkey
    .execute()
}

/** The one so far signs no more. */
export async function replaceSecret(trx: Transaction<Database>, id: string, sealedSecret: string): Promise<void> {
  await trx
    .updateTable('notice_receivers')
    .set({ sealed_secret: sealedSecret })
    .where('id', '=', id) // served by notice_receivers_pkey
    .execute()
}

export async function deleteReceiver(trx: Transaction<Database>, id: string): Promise<void> {
  await trx
    .deleteFrom('notice_receivers')
    .where('id', '=', id) // served by notice_receivers_pkey
    .execute()
}

export type SealedReceiver = Pick<NoticeReceiverTable, 'id' | 'sealed_secret' | 'sealed_previous_secret'>

/** Receivers with a signing secret, over all Sites, in the order of their ids. @param after where to go on */
export function listSealed(db: Kysely<Database>, after: string | undefined, limit: number): Promise<SealedReceiver[]> {
  const query = db
    .selectFrom('notice_receivers')
    .select(['id', 'sealed_secret', 'sealed_previous_secret'])
    .where('sealed_secret', 'is not', null)
    .orderBy('id') // served by notice_receivers_pkey
    .limit(limit)
  return (after === undefined ? query : query.where('id', '>', after)).execute()
}

/** Puts the same secret under another seal, unless somebody else has meanwhile. @returns whether it was done */
export async function replaceSeal(
  db: Kysely<Database>,
  id: string,
  column: 'sealed_secret' | 'sealed_previous_secret',
  from: string,
  to: string
): Promise<boolean> {
  const { numUpdatedRows } = await db
    .updateTable('notice_receivers')
    .set({ [column]: to })
    .where('id', '=', id) // served by notice_receivers_pkey
    .where(column, '=', from)
    .executeTakeFirstOrThrow()
  return numUpdatedRows > 0n
}
