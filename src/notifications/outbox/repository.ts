import { type Kysely, sql } from 'kysely'
import type { Database, NoticeDeliveryTable, NoticeReceiverTable, NoticeTable } from '../../database/schema.ts'
import { SERVICE_RECEIVER_IDS } from '../repository.ts'

/** A delivery that this instance has taken, with all that trying takes. */
export interface Claimed extends Omit<NoticeTable, 'id'> {
  id: string
  notice_id: string
  receiver_id: string
  /** Cancelled ones are not to be tried. */
  state: NoticeDeliveryTable['state']
  attempts: number
  url: NoticeReceiverTable['url']
  addresses: NoticeReceiverTable['addresses']
  sealed_secret: NoticeReceiverTable['sealed_secret']
  sealed_previous_secret: NoticeReceiverTable['sealed_previous_secret']
  previous_secret_until: NoticeReceiverTable['previous_secret_until']
}

export interface Claim {
  now: Date
  /** Until when nobody else tries: should this process end meanwhile, another does then. */
  leaseUntil: Date
  /** Receivers to leave alone. */
  except: readonly string[]
  limit: number
  limitPerReceiver: number
}

/**
 * Takes deliveries that are due, some of each receiver, and leases them. Those of an expiry that was moved or
 * deleted, or of a receiver that is gone, are cancelled in the same statement.
 */
export async function claimDeliveries(db: Kysely<Database>, claim: Claim): Promise<Claimed[]> {
  const { now, leaseUntil, except, limit, limitPerReceiver } = claim
  const { rows } = await sql<Claimed>`
    with receivers as (
      select distinct receiver_id from notice_deliveries -- served by notice_deliveries_pending
      where state = 'pending' and due_at <= ${now} and receiver_id <> all(${except}::uuid[])
    ), due as (
      select next.* from receivers cross join lateral (
        select id, notice_id, receiver_id from notice_deliveries -- served by notice_deliveries_pending
        where state = 'pending' and due_at <= ${now} and receiver_id = receivers.receiver_id
        order by due_at
        limit ${limitPerReceiver}
        for update skip locked
      ) next
      limit ${limit}
    )
    update notice_deliveries d set
      state = case when gone.is_gone then 'cancelled' else 'pending' end,
      attempts = case when gone.is_gone then d.attempts else d.attempts + 1 end,
      last_attempt_at = case when gone.is_gone then d.last_attempt_at else ${now}::timestamptz end,
      due_at = ${leaseUntil}
    from due
    join notices n on n.id = due.notice_id
    left join registrations r on r.client_id = n.client_id and r.expires_at = n.expires_at
    left join notice_receivers receiver on receiver.id = due.receiver_id
    cross join lateral (
      select r.client_id is null
        or (receiver.id is null and due.receiver_id <> all(${Object.values(SERVICE_RECEIVER_IDS)}::uuid[])) as is_gone
    ) gone
    where d.id = due.id
    returning d.id, d.notice_id, d.receiver_id, d.state, d.attempts,
      n.site_id, n.client_id, n.name, n.enabled, n.expires_at, n.step, n.fired_at,
      receiver.url, receiver.addresses, receiver.sealed_secret, receiver.sealed_previous_secret,
      receiver.previous_secret_until`.execute(db)
  return rows
}

/** Which try this is about: a later one, of whoever it is, is not touched. */
type Try = Pick<Claimed, 'id' | 'attempts'>

export function recordDelivered(db: Kysely<Database>, attempt: Try, at: Date): Promise<void> {
  return record(db, attempt, { state: 'delivered', delivered_at: at, last_error: null })
}

/** @param retryAt undefined when it is not tried again by itself */
export function recordFailed(
  db: Kysely<Database>,
  attempt: Try,
  error: string,
  retryAt: Date | undefined
): Promise<void> {
  return record(db, attempt, {
    last_error: error,
    ...(retryAt === undefined ? { state: 'dead' as const } : { due_at: retryAt })
  })
}

/** Gives the lease back: whoever comes next may try at once. */
export function releaseDelivery(db: Kysely<Database>, attempt: Try, at: Date): Promise<void> {
  return record(db, attempt, { due_at: at })
}

async function record(
  db: Kysely<Database>,
  { id, attempts }: Try,
  change: Partial<Pick<NoticeDeliveryTable, 'state' | 'due_at' | 'delivered_at' | 'last_error'>>
): Promise<void> {
  await db
    .updateTable('notice_deliveries')
    .set(change)
    .where('id', '=', id) // served by notice_deliveries_pkey
    .where('attempts', '=', attempts)
    .where('state', '=', 'pending')
    .execute()
}

/**
 * Has a delivery tried anew, at once, with all its tries. Not one that is cancelled, or would be.
 *
 * @returns was there one to try?
 */
export async function retryDelivery(db: Kysely<Database>, id: string, now: Date): Promise<boolean> {
  const { numUpdatedRows } = await db
    .updateTable('notice_deliveries as d')
    .set({ state: 'pending', attempts: 0, due_at: now })
    .where('d.id', '=', id) // served by notice_deliveries_pkey
    .where('d.state', '!=', 'cancelled')
    .where(eb =>
      eb.exists(
        eb
          .selectFrom('notices as n')
          .innerJoin('registrations as r', join =>
            join.onRef('r.client_id', '=', 'n.client_id').onRef('r.expires_at', '=', 'n.expires_at')
          )
          .whereRef('n.id', '=', 'd.notice_id')
          .select('n.id')
      )
    )
    .where(eb =>
      eb.or([
        eb('d.receiver_id', 'in', Object.values(SERVICE_RECEIVER_IDS)),
        eb.exists(
          eb
            .selectFrom('notice_receivers as receiver')
            .whereRef('receiver.id', '=', 'd.receiver_id')
            .select('receiver.id')
        )
      ])
    )
    .executeTakeFirstOrThrow()
  return numUpdatedRows > 0n
}
