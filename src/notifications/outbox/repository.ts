import { type Kysely, type Selectable, sql } from 'kysely'
import type { Database, NoticeDeliveryTable, NoticeReceiverTable, NoticeTable } from '../../database/schema.ts'
import { isWanted } from '../repository.ts'

/** A delivery that this instance has claimed, with its notice and its receiver. */
export interface Claimed
  extends Omit<Selectable<NoticeTable>, 'id'>,
    Pick<
      Selectable<NoticeDeliveryTable>,
      'id' | 'notice_id' | 'receiver_id' | 'kind' | 'queue' | 'state' | 'attempts' | 'reached'
    >,
    Pick<NoticeReceiverTable, 'secret_jwe' | 'previous_secret_jwe' | 'previous_secret_expires_at'> {
  /** Null for a receiver of the configuration. */
  target: NoticeReceiverTable['target'] | null
}

export interface Claim {
  now: Date
  /** No other instance tries before this instant. If this process ends meanwhile, another one tries then. */
  leaseUntil: Date
  /** Queues to leave out. */
  exceptQueues: readonly string[]
  /** Queues whose receiver was slow at its latest try. */
  slowQueues: readonly string[]
  /** How many deliveries to claim at most that have failed before or belong to a slow queue. */
  slowLimit: number
  limit: number
  limitPerQueue: number
  limitPerSite: number
  /** How many places each Site holds already. They count towards `limitPerSite`. */
  underWay: ReadonlyMap<string, number>
}

/**
 * Claims deliveries that are due and leases them: first one of each queue, the oldest first, then a second one. In the
 * same statement it cancels those that are no longer wanted. A cancelled delivery is returned too.
 *
 * The statement jumps from queue to queue in the index and reads the first deliveries of each, so its cost depends on
 * the number of receivers that have something pending, and not on how much is pending.
 */
export async function claimDeliveries(db: Kysely<Database>, claim: Claim): Promise<Claimed[]> {
  const { now, leaseUntil, exceptQueues, slowQueues, slowLimit, limit, limitPerQueue, limitPerSite, underWay } = claim
  const { rows } = await sql<Claimed>`
    with recursive queues (name) as (
      (select queue from notice_deliveries where state = 'pending' order by queue limit 1)
      union all
      select (
        select d.queue from notice_deliveries d -- Index: notice_deliveries_pending
        where d.state = 'pending' and d.queue > queues.name order by d.queue limit 1
      )
      from queues where queues.name is not null
    ), heads as (
      select head.*, head.attempts > 0 or queues.name = any(${slowQueues}::text[]) as is_slow,
        -- The Site's own receivers. Those of the configuration serve all Sites.
        case when head.receiver_id is not null then head.site_id end as owner
      from queues cross join lateral (
        select d.id, d.site_id, d.receiver_id, d.attempts, d.due_at, row_number() over (order by d.due_at) as place_in_queue
        from notice_deliveries d -- Index: notice_deliveries_pending
        where d.state = 'pending' and d.queue = queues.name and d.due_at <= ${now}
        order by d.due_at limit ${limitPerQueue}
      ) head
      where queues.name <> all(${exceptQueues}::text[])
    ), ranked as (
      select *,
        row_number() over (partition by owner order by is_slow, place_in_queue, due_at) as place_in_site,
        row_number() over (partition by is_slow order by place_in_queue, due_at) as place_in_class
      from heads
    ), due as (
      select d.id, ${isWanted} as is_wanted from ranked
      join notice_deliveries d on d.id = ranked.id -- Index: notice_deliveries_pkey
      left join unnest(${[...underWay.keys()]}::text[], ${[...underWay.values()]}::integer[]) as busy (site_id, count)
        on busy.site_id = ranked.owner
      where (ranked.owner is null or place_in_site <= ${limitPerSite} - coalesce(busy.count, 0))
        and (not is_slow or place_in_class <= ${slowLimit})
        -- Again, because another instance may have claimed it meanwhile.
        and d.state = 'pending' and d.due_at <= ${now}
      order by is_slow, place_in_queue, ranked.due_at
      limit ${limit}
      for update of d skip locked
    ), claimed as (
      update notice_deliveries d set
        state = case when due.is_wanted then 'pending' else 'cancelled' end,
        attempts = case when due.is_wanted then d.attempts + 1 else d.attempts end,
        last_attempt_at = case when due.is_wanted then ${now}::timestamptz else d.last_attempt_at end,
        due_at = ${leaseUntil}
      from due where d.id = due.id
      returning d.id, d.notice_id, d.receiver_id, d.kind, d.queue, d.state, d.attempts, d.reached
    )
    select claimed.*, n.site_id, n.client_id, n.name, n.enabled, n.expires_at, n.type, n.details, n.step, n.fired_at,
      receiver.target, receiver.secret_jwe, receiver.previous_secret_jwe, receiver.previous_secret_expires_at
    from claimed
    join notices n on n.id = claimed.notice_id
    left join notice_receivers receiver on receiver.id = claimed.receiver_id`.execute(db)
  return rows
}

/** One try of a delivery. A result never overwrites the one of a later try, which another instance may have made. */
type Try = Pick<Claimed, 'id' | 'attempts'>

export function recordDelivered(db: Kysely<Database>, attempt: Try, at: Date): Promise<void> {
  return record(db, attempt, { state: 'delivered', delivered_at: at, last_error: null })
}

/** @param retryAt undefined to give the delivery up @param reached recipients that have the message */
export function recordFailed(
  db: Kysely<Database>,
  attempt: Try,
  error: string,
  retryAt: Date | undefined,
  reached: readonly string[]
): Promise<void> {
  return record(db, attempt, {
    last_error: error,
    reached: [...reached],
    ...(retryAt === undefined ? { state: 'dead' as const } : { due_at: retryAt })
  })
}

/** Gives the lease back, so that any instance may try at once. */
export function releaseDelivery(db: Kysely<Database>, attempt: Try, at: Date): Promise<void> {
  return record(db, attempt, { due_at: at })
}

type DeliveryChange = Partial<
  Pick<Selectable<NoticeDeliveryTable>, 'state' | 'due_at' | 'delivered_at' | 'last_error' | 'reached'>
>

async function record(db: Kysely<Database>, { id, attempts }: Try, change: DeliveryChange): Promise<void> {
  await db
    .updateTable('notice_deliveries')
    .set(change)
    .where('id', '=', id) // Index: notice_deliveries_pkey
    .where('attempts', '=', attempts)
    .where('state', '=', 'pending')
    .execute()
}

/**
 * Makes a delivery due now and counts its tries from the start. A delivery that was delivered goes to all its recipients
 * again.
 *
 * @returns false when it is cancelled or no longer wanted
 */
export async function makeDue(db: Kysely<Database>, id: string, now: Date): Promise<boolean> {
  const { numUpdatedRows } = await db
    .updateTable('notice_deliveries as d')
    .set({
      state: 'pending',
      attempts: 0,
      due_at: now,
      reached: sql`case when d.state = 'delivered' then '{}' else d.reached end`
    })
    .where('d.id', '=', id) // Index: notice_deliveries_pkey
    .where('d.state', '!=', 'cancelled')
    .where(isWanted)
    .executeTakeFirstOrThrow()
  return numUpdatedRows > 0n
}
