import type { Kysely } from 'kysely'
import type { AuditContext } from '../../admin-api/audit-context.ts'
import { recordEvent } from '../../audit/record.ts'
import type { Database } from '../../database/schema.ts'
import { notFound, Problem } from '../../http/problem.ts'
import { type Delivery, findDelivery, lockDelivery } from '../repository.ts'
import { retryDelivery } from './repository.ts'

/** Which delivery of which notice is meant. */
export interface DeliveryPlace {
  siteId: string
  noticeId: string
  deliveryId: string
}

/**
 * Has a delivery tried anew, at once, with all its tries, as an administrator asked.
 *
 * @throws Problem 404; 409 `cancelled` when nobody is to be told any more
 */
export function sendAgain(
  { db, now }: { db: Kysely<Database>; now: () => number },
  place: DeliveryPlace,
  context: AuditContext
): Promise<Delivery> {
  return db.transaction().execute(async trx => {
    const before = await lockDelivery(trx, place.siteId, place.noticeId, place.deliveryId)
    if (before === undefined) throw notFound()
    const at = now()
    if (!(await retryDelivery(trx, place.deliveryId, new Date(at)))) {
      throw new Problem(409, 'cancelled', 'The registration was renewed or deleted, or the receiver was.')
    }
    const after = await findDelivery(trx, place.siteId, place.noticeId, place.deliveryId)
    if (after === undefined) throw notFound()
    const changes = { state: { from: before.state, to: after.state } }
    await recordEvent(trx, {
      ...{ siteId: place.siteId, subject: place.deliveryId, action: 'delivery.retried' },
      ...{ changes, at, context }
    })
    return after
  })
}
