import type { NoticeTable } from '../database/schema.ts'
import { type Delivery, SERVICE_RECEIVER_IDS } from './repository.ts'
import type { DeliveryBody, NoticeBody } from './schemas.ts'

export function representNotice(row: NoticeTable, deliveries: readonly Delivery[]): NoticeBody {
  return {
    noticeId: row.id,
    clientId: row.client_id,
    name: row.name,
    enabled: row.enabled,
    expiresAt: row.expires_at.toISOString(),
    step: row.step,
    firedAt: row.fired_at.toISOString(),
    deliveries: deliveries.map(representDelivery)
  }
}

export function representDelivery(row: Delivery): DeliveryBody {
  const isOfService = Object.values<string>(SERVICE_RECEIVER_IDS).includes(row.receiver_id)
  return {
    deliveryId: row.id,
    receiverId: isOfService ? null : row.receiver_id,
    kind: row.kind,
    state: row.state,
    attempts: row.attempts,
    lastAttemptAt: row.last_attempt_at?.toISOString() ?? null,
    nextAttemptAt: row.state === 'pending' ? row.due_at.toISOString() : null,
    deliveredAt: row.delivered_at?.toISOString() ?? null,
    lastError: row.last_error
  }
}
