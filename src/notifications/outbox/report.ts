import type { DeliveryResult, OutboxOptions } from './outbox.ts'

export interface DeliveryLog {
  info: (fields: object, message: string) => void
  warn: (fields: object, message: string) => void
  error: (fields: object, message: string) => void
}

const MESSAGES: Record<DeliveryResult, string> = {
  delivered: 'notice delivered',
  failed: 'notice delivery failed and will be retried',
  dead: 'notice delivery failed and was given up'
}

/** Makes the callbacks of an outbox that log and count the results of its tries. */
export function reportResults(
  log: DeliveryLog,
  count: (result: DeliveryResult) => void
): Pick<OutboxOptions, 'onResult' | 'onError'> {
  return {
    onResult: (delivery, result, detail) => {
      count(result)
      const { id, notice_id: noticeId, receiver_id: receiverId, kind, attempts } = delivery
      const fields = { deliveryId: id, noticeId, receiverId, kind, attempts, detail }
      if (result === 'delivered') log.info(fields, MESSAGES[result])
      else log.warn(fields, MESSAGES[result])
    },
    onError: error => log.error({ err: error }, 'a notice delivery has no result and will be retried')
  }
}
