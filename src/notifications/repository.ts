import { type Kysely, type RawBuilder, sql, type Transaction } from 'kysely'
import type { Database, NoticeDeliveryTable, NoticeTable } from '../database/schema.ts'
import type { StepWindow } from './cadence.ts'

/** A receiver of the configuration: it gets the notices of all Sites. */
export interface ServiceReceiver {
  id: string
  kind: NoticeDeliveryTable['kind']
}

/** A place in the order of registrations_expires_at. */
export interface Place {
  expiresAt: Date
  clientId: string
}

export interface Firing {
  windows: readonly StepWindow[]
  /** Milliseconds since the epoch. */
  now: number
  serviceReceivers: readonly ServiceReceiver[]
  /** Expiries after and up to these instants are looked at, so many at most. */
  after: Date
  upTo: Date
  limit: number
  /** Where to go on within them. */
  place: Place | undefined
}

/**
 * Makes the notices that are due in a stretch of registrations and have not been made, and what is to be delivered
 * of each. One instance at a time: two whose clocks differ could otherwise tell two steps of one expiry.
 *
 * @returns how many were made, and where to go on; undefined at the end of the range
 */
export async function fireDueNotices(
  trx: Transaction<Database>,
  firing: Firing
): Promise<{ made: number; next: Place | undefined }> {
  await sql`select pg_advisory_xact_lock(hashtextextended('notice sweep', 0))`.execute(trx)
  const next = await findEnd(trx, firing)
  const fired = await insertNotices(trx, firing, next)
  if (fired.length > 0) await insertDeliveries(trx, fired, firing)
  return { made: fired.length, next }
}

/** The last of the registrations to look at, when there may be more behind it. */
async function findEnd(trx: Transaction<Database>, firing: Firing): Promise<Place | undefined> {
  return (
    trx
      .selectFrom('registrations as r')
      .select(['r.expires_at as expiresAt', 'r.client_id as clientId'])
      // served by registrations_expires_at, of which alone it reads
      .where(beginsAt(firing))
      .where('r.expires_at', '<=', firing.upTo)
      .orderBy('r.expires_at')
      .orderBy('r.client_id')
      .offset(firing.limit - 1)
      .limit(1)
      .executeTakeFirst()
  )
}

function beginsAt({ after, place }: Firing): RawBuilder<boolean> {
  return place === undefined
    ? sql`r.expires_at > ${after}`
    : sql`(r.expires_at, r.client_id) > (${place.expiresAt}::timestamptz, ${place.clientId}::text)`
}

function endsAt({ upTo }: Firing, end: Place | undefined): RawBuilder<boolean> {
  return end === undefined
    ? sql`r.expires_at <= ${upTo}`
    : sql`(r.expires_at, r.client_id) <= (${end.expiresAt}::timestamptz, ${end.clientId}::text)`
}

async function insertNotices(trx: Transaction<Database>, firing: Firing, end: Place | undefined): Promise<string[]> {
  const { windows, now } = firing
  const steps = windows.map(({ step }) => step)
  const from = windows.map(({ after }) => new Date(after))
  const to = windows.map(({ upTo }) => new Date(upTo))
  const rows = await trx
    .insertInto('notices')
    .columns(['id', 'site_id', 'client_id', 'name', 'enabled', 'expires_at', 'step', 'fired_at'])
    .expression(
      // served by registrations_expires_at and notices_once
      sql<NoticeTable>`
        select gen_random_uuid(), r.site_id, r.client_id, r.name, r.enabled, r.expires_at, due.step, ${new Date(now)}::timestamptz
        from registrations r
        join unnest(${steps}::integer[], ${from}::timestamptz[], ${to}::timestamptz[]) as due (step, after, up_to)
          on r.expires_at > due.after and r.expires_at <= due.up_to
        where ${beginsAt(firing)} and ${endsAt(firing, end)}
          and r.expiry_set_at < r.expires_at - due.step * interval '24 hours'
          and not exists (
            select from notices n
            where n.expires_at = r.expires_at and n.client_id = r.client_id and n.step <= due.step
          )
        -- Not while it is being renewed or deleted: that decides first, and the next sweep sees what it is then.
        for share of r skip locked`
    )
    .onConflict(conflict => conflict.constraint('notices_once').doNothing())
    .returning('id')
    .execute()
  return rows.map(({ id }) => id)
}

async function insertDeliveries(
  trx: Transaction<Database>,
  noticeIds: readonly string[],
  { now, serviceReceivers }: Firing
): Promise<void> {
  const ids = serviceReceivers.map(({ id }) => id)
  const kinds = serviceReceivers.map(({ kind }) => kind)
  await trx
    .insertInto('notice_deliveries')
    .columns(['id', 'notice_id', 'receiver_id', 'kind', 'state', 'attempts', 'due_at'])
    .expression(
      // served by notices_pkey and notice_receivers_site_id
      sql<NoticeDeliveryTable>`
        select gen_random_uuid(), n.id, receiver.id, receiver.kind, 'pending', 0, ${new Date(now)}::timestamptz
        from notices n
        cross join lateral (
          select r.id, r.kind from notice_receivers r
          where r.site_id = n.site_id and (r.steps is null or n.step = any(r.steps))
          union all
          select * from unnest(${ids}::uuid[], ${kinds}::text[])
        ) receiver
        where n.id = any(${noticeIds}::uuid[])`
    )
    .execute()
}

/**
 * Deletes notices of what both expired and fired before this instant, with their deliveries: so many at most.
 *
 * Not those of a registration that still has that expiry, however old: they are why its steps don't fire again. An
 * expiry that lies in the past can't be set, and a client id is never given out again: what goes stays gone.
 *
 * @returns how many; none while another instance does it
 */
export async function deleteOldNotices(trx: Transaction<Database>, before: Date, limit: number): Promise<number> {
  // Two that delete the same rows, each in its order, could wait for each other.
  const { rows } = await sql<{ isOurs: boolean }>`
    select pg_try_advisory_xact_lock(hashtextextended('notice retention', 0)) as "isOurs"`.execute(trx)
  if (rows[0]?.isOurs !== true) return 0
  const { numDeletedRows } = await trx
    .deleteFrom('notices')
    .where('id', 'in', eb =>
      eb
        .selectFrom('notices as n')
        .select('n.id')
        .where('n.expires_at', '<', before) // served by notices_once
        .where('n.fired_at', '<', before)
        .where(({ not, exists, selectFrom }) =>
          not(
            exists(
              selectFrom('registrations as r')
                .select('r.client_id')
                .whereRef('r.client_id', '=', 'n.client_id') // served by registrations_pkey
                .whereRef('r.expires_at', '=', 'n.expires_at')
            )
          )
        )
        .orderBy('n.expires_at')
        .limit(limit)
    )
    .executeTakeFirstOrThrow()
  return Number(numDeletedRows)
}

export type Delivery = NoticeDeliveryTable

export interface NoticeListing {
  siteId: string
  clientId: string | undefined
  step: number | undefined
  limit: number
  /** Continue after this row. */
  after: { firedAt: string; id: string } | undefined
}

/** A page of what fired, the latest first. */
export function listNotices(db: Kysely<Database>, listing: NoticeListing): Promise<NoticeTable[]> {
  const { siteId, clientId, step, limit, after } = listing
  let query = db
    .selectFrom('notices')
    .select(['id', 'site_id', 'client_id', 'name', 'enabled', 'expires_at', 'step', 'fired_at'])
    // served by notices_site_id_fired_at; for one client by notices_client_id_fired_at
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

/** What is to be delivered of these notices, as it stands: what nobody will send any more is cancelled. */
export function listDeliveries(db: Kysely<Database>, noticeIds: readonly string[]): Promise<Delivery[]> {
  return deliveries(db)
    .where('d.notice_id', '=', sql<string>`any(${noticeIds}::uuid[])`) // served by notice_deliveries_once
    .orderBy('d.id')
    .execute()
}

export function findDelivery(
  db: Kysely<Database>,
  siteId: string,
  noticeId: string,
  deliveryId: string
): Promise<Delivery | undefined> {
  return oneDelivery(db, siteId, noticeId, deliveryId).executeTakeFirst()
}

/** @returns the delivery, locked until the end of the transaction */
export function lockDelivery(
  trx: Transaction<Database>,
  siteId: string,
  noticeId: string,
  deliveryId: string
): Promise<Delivery | undefined> {
  return oneDelivery(trx, siteId, noticeId, deliveryId).forUpdate('d').executeTakeFirst()
}

function oneDelivery(db: Kysely<Database>, siteId: string, noticeId: string, deliveryId: string) {
  return deliveries(db)
    .where('d.id', '=', deliveryId) // served by notice_deliveries_pkey
    .where('d.notice_id', '=', noticeId)
    .where('n.site_id', '=', siteId)
}

/** How many deliveries are dead, over all Sites, and could be sent again: those of a renewed expiry are nobody's worry. */
export async function countDeadDeliveries(db: Kysely<Database>): Promise<number> {
  const { count } = await db
    .selectFrom('notice_deliveries as d')
    .innerJoin('notices as n', 'n.id', 'd.notice_id')
    .innerJoin('registrations as r', join =>
      join.onRef('r.client_id', '=', 'n.client_id').onRef('r.expires_at', '=', 'n.expires_at')
    )
    .leftJoin('notice_receivers as receiver', 'receiver.id', 'd.receiver_id')
    .select(eb => eb.cast<number>(eb.fn.countAll(), 'integer').as('count'))
    .where('d.state', '=', 'dead') // served by notice_deliveries_dead
    .where(eb =>
      eb.or([eb('receiver.id', 'is not', null), eb('d.receiver_id', 'in', Object.values(SERVICE_RECEIVER_IDS))])
    )
    .executeTakeFirstOrThrow()
  return count
}

/** The ids that stand for the receivers of the configuration. */
export const SERVICE_RECEIVER_IDS = {
  webhook: '00000000-0000-4000-8000-000000000001',
  mail: '00000000-0000-4000-8000-000000000002'
} as const

function deliveries(db: Kysely<Database>) {
  return db
    .selectFrom('notice_deliveries as d')
    .innerJoin('notices as n', 'n.id', 'd.notice_id')
    .leftJoin('registrations as r', join =>
      join.onRef('r.client_id', '=', 'n.client_id').onRef('r.expires_at', '=', 'n.expires_at')
    )
    .leftJoin('notice_receivers as receiver', 'receiver.id', 'd.receiver_id')
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
      sql<Delivery['state']>`
        case when d.state = 'pending' and (r.client_id is null or (receiver.id is null and d.receiver_id <> all(${Object.values(SERVICE_RECEIVER_IDS)}::uuid[])))
          then 'cancelled' else d.state end`.as('state')
    ])
}
