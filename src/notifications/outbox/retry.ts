import type { Transaction } from 'kysely'
import type { AuditContext } from '../../admin-api/audit-context.ts'
import { withLocked } from '../../admin-api/locked.ts'
import type { Site } from '../../admin-api/site.ts'
import { recordEvent } from '../../audit/record.ts'
import type { Database } from '../../database/schema.ts'
import { notFound, Problem } from '../../http/problem.ts'
import { type Delivery, type DeliveryKey, findDelivery, lockDelivery } from '../repository.ts'
import { makeDue } from './repository.ts'

export interface RetryOptions {
  /** Milliseconds since the epoch. */
  now: () => number
  /** Time of the database, milliseconds since the epoch. */
  databaseNow: () => Promise<number>
}

/**
 * Makes a delivery due now and counts its tries from the start, as an administrator asked.
 *
 * @throws Problem 404; 409 `cancelled` or `already_delivered`
 */
export async function retryDelivery(
  { siteId, db }: Site,
  { now, databaseNow }: RetryOptions,
  ids: Omit<DeliveryKey, 'siteId'>,
  context: AuditContext
): Promise<Delivery> {
  const key = { siteId, ...ids }
  const dueAt = new Date(await databaseNow())
  return withLocked(db, { lock: trx => lockDelivery(trx, key) }, async (trx, before) => {
    if (before.receiver_id === null && before.state === 'delivered') throw alreadyDelivered()
    if (!(await makeDue(trx, key.deliveryId, dueAt))) throw cancelled()
    const after = await findAgain(trx, key)
    const changes = { state: { from: before.state, to: after.state } }
    await recordEvent(trx, {
      ...{ siteId, subject: key.deliveryId, action: 'delivery.retried' },
      ...{ changes, at: now(), context }
    })
    return after
  })
}

async function findAgain(trx: Transaction<Database>, key: DeliveryKey): Promise<Delivery> {
  const delivery = await findDelivery(trx, key)
  if (delivery === undefined) throw notFound()
  return delivery
}

function cancelled(): Problem {
  return new Problem(409, 'cancelled', 'The registration was renewed or deleted, or the receiver was deleted.')
}

/** The administrators of a Site must not be able to send mails to the operator without limit. */
function alreadyDelivered(): Problem {
  return new Problem(
    409,
    'already_delivered',
    "A delivery to one of the service's own receivers can be retried only until it is delivered."
  )
}
