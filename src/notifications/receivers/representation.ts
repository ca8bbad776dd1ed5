import type { Receiver } from './repository.ts'
import type { ReceiverBody } from './schemas.ts'

/** A receiver as the admin API tells it, at this instant (milliseconds since the epoch). */
export function representReceiver(row: Receiver, now: number): ReceiverBody {
  const previousUntil = row.previous_secret_until
  return {
    receiverId: row.id,
    kind: row.kind,
    url: row.url,
    addresses: row.addresses,
    steps: row.steps,
    createdAt: row.created_at.toISOString(),
    previousSecretUntil: previousUntil !== null && previousUntil.getTime() > now ? previousUntil.toISOString() : null
  }
}
