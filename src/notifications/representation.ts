import { instantOrNull } from '../admin-api/instant.ts'
import type { Delivery, Notice } from './repository.ts'
import type { DeliveryBody, NoticeBody } from './schemas.ts'

/** Returns a notice as the admin API shows it. */
export function representNotice(row: Notice, deliveries: readonly Delivery[]): NoticeBody {
  return {
    noticeId: row.id,
    clientId: row.client_id,
    name: row.name,
    enabled: row.enabled,
    expiresAt: row.expires_at.toISOString(),
    type: row.type,
    step: row.step,
    details: row.details,
    firedAt: row.fired_at.toISOString(),
    deliveries: deliveries.map(representDelivery)
  }
}

/** Returns a delivery as the admin API shows it. */
export function representDelivery(row: Delivery): DeliveryBody {
  return {
    deliveryId: row.id,
    receiverId: row.receiver_id,
    kind: row.kind,
    state: row.state,
    attempts: row.attempts,
    lastAttemptAt: instantOrNull(row.last_attempt_at),
    nextAttemptAt: row.state === 'pending' ? row.due_at.toISOString() : null,
    deliveredAt: instantOrNull(row.delivered_at),
    lastError: shownError(row)
  }
}

/** The error of a receiver of the configuration may name the operator's addresses, which are not the Site's business. */
function shownError({ receiver_id: receiverId, last_error: error }: Delivery): string | null {
  return receiverId === null && error !== null ? 'The log of grantd has the reason.' : error
}
