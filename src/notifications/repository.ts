import { type Kysely, type Selectable, sql, type Transaction } from 'kysely'
import type { Database, NoticeDeliveryTable, NoticeTable } from '../database/schema.ts'

/**
 * Whether a delivery is still wanted: the registration still has the expiry that the notice is about, if it is about one,
 * and the receiver still exists. It goes into statements that name notice_deliveries `d`.
 */
// Indexes: notices_pkey, registrations_pkey, notice_receivers_pkey
export const isWanted = sql<boolean>`(
  exists (
    select from notices n left join registrations r on r.client_id = n.client_id and r.expires_at = n.expires_at
    where n.id = d.notice_id and (n.type <> 'expiry' or r.client_id is not null)
  ) and (
    -- The configuration names the receiver.
    d.receiver_id is null
    or exists (select from notice_receivers receiver where receiver.id = d.receiver_id)
  )
)`

export type Notice = Selectable<NoticeTable>

export interface NoticeListing {
  siteId: string
  clientId: string | undefined
  step: number | undefined
  limit: number
  /** Continues after this row. */
  after: { firedAt: string; id: string } | undefined
}

/** Reads a page of the notices of a Site, the latest first. */
export function listNotices(db: Kysely<Database>, listing: NoticeListing): Promise<Notice[]> {
  const { siteId, clientId, step, limit, after } = listing
  let query = db
    .selectFrom('notices')
    .select(['id', 'site_id', 'client_id', 'name', 'enabled', 'expires_at', 'type', 'details', 'step', 'fired_at'])
    // Index: notices_site_id_fired_at; for one client notices_client_id_fired_at
    .where('site_id', '=', siteId)
    .orderBy('fired_at', 'desc')
    .orderBy('id', 'desc')
    .limit(limit)
  if (clientId !== undefined) query = query.where('client_id', '=', clientId)
  if (step !== undefined) query = query.where('step', '=', step)
  if (after !== undefined) {
    query = query.where(sql<boolean>`(fired_at, id) < (${after.firedAt}::timestamptz, ${after.id}::uuid)`)
  }
  return query.execute()
}

/** A delivery as administrators see it: a pending one that is no longer wanted shows as cancelled. */
export type Delivery = Omit<Selectable<NoticeDeliveryTable>, 'queue' | 'site_id' | 'reached'>

/** Reads the deliveries of these notices. */
export function listDeliveries(db: Kysely<Database>, noticeIds: readonly string[]): Promise<Delivery[]> {
  return deliveries(db)
    .where('d.notice_id', '=', sql<string>`any(${noticeIds}::uuid[])`) // Index: notice_deliveries_once
    .orderBy('d.id')
    .execute()
}

/** Names one delivery of one notice of a Site. */
export interface DeliveryKey {
  siteId: string
  noticeId: string
  deliveryId: string
}

export function findDelivery(db: Kysely<Database>, key: DeliveryKey): Promise<Delivery | undefined> {
  return oneDelivery(db, key).executeTakeFirst()
}

/** Finds a delivery and locks its row until the transaction ends. */
export function lockDelivery(trx: Transaction<Database>, key: DeliveryKey): Promise<Delivery | undefined> {
  return oneDelivery(trx, key).forUpdate('d').executeTakeFirst()
}

function oneDelivery(db: Kysely<Database>, { siteId, noticeId, deliveryId }: DeliveryKey) {
  return deliveries(db)
    .where('d.id', '=', deliveryId) // Index: notice_deliveries_pkey
    .where('d.notice_id', '=', noticeId)
    .where('d.site_id', '=', siteId)
}

/** Counts the dead deliveries of all Sites that are still wanted, so that an administrator could retry them. */
export async function countDeadDeliveries(db: Kysely<Database>): Promise<number> {
  const { count } = await db
    .selectFrom('notice_deliveries as d')
    .select(eb => eb.cast<number>(eb.fn.countAll(), 'integer').as('count'))
    .where('d.state', '=', 'dead') // Index: notice_deliveries_dead
    .where(isWanted)
    .executeTakeFirstOrThrow()
  return count
}

/** Inserts a notice that is no step of the cadence. */
export async function insertNotice(trx: Transaction<Database>, notice: Omit<Notice, 'step'>): Promise<void> {
  await trx
    .insertInto('notices')
    .values({ ...notice, step: null })
    .execute()
}

/**
 * Inserts the deliveries of notices: one for each receiver of the Site, and of the configuration. The steps that a receiver
 * has chosen concern the expiry cadence only.
 *
 * @param serviceKinds kinds of the receivers that the configuration names
 */
export async function insertDeliveries(
  trx: Transaction<Database>,
  noticeIds: readonly string[],
  { now, serviceKinds }: { now: Date; serviceKinds: readonly string[] }
): Promise<void> {
  await trx
    .insertInto('notice_deliveries')
    .columns(['id', 'notice_id', 'site_id', 'receiver_id', 'kind', 'state', 'attempts', 'due_at'])
    .expression(
      // Indexes: notices_pkey and notice_receivers_site_id
      sql<NoticeDeliveryTable>`
        select gen_random_uuid(), n.id, n.site_id, receiver.id, receiver.kind, 'pending', 0, ${now}::timestamptz
        from notices n
        cross join lateral (
          select r.id, r.kind from notice_receivers r
          where r.site_id = n.site_id and (n.step is null or r.steps is null or n.step = any(r.steps))
          union all
          select null, kind from unnest(${serviceKinds}::text[]) as kind
        ) receiver
        where n.id = any(${noticeIds}::uuid[])`
    )
    .execute()
}

function deliveries(db: Kysely<Database>) {
  return db
    .selectFrom('notice_deliveries as d')
    .select([
      'd.id',
      'd.notice_id',
      'd.receiver_id',
      'd.kind',
      'd.attempts',
      'd.due_at',
      'd.last_attempt_at',
      'd.delivered_at',
      'd.last_error',
      sql<Delivery['state']>`case when d.state = 'pending' and not ${isWanted} then 'cancelled' else d.state end`.as(
        'state'
      )
    ])
}
