import { CHANNELS } from '../channels/channels.ts'
import type { Receiver } from './repository.ts'
import type { ReceiverBody } from './schemas.ts'

/** Returns a receiver as the admin API shows it. @param now milliseconds since the epoch */
export function representReceiver(row: Receiver, now: number): ReceiverBody {
  const previousExpiresAt = row.previous_secret_expires_at
  return {
    receiverId: row.id,
    kind: row.kind,
    ...NO_TARGET,
    ...row.target,
    steps: row.steps,
    createdAt: row.created_at.toISOString(),
    previousSecretExpiresAt:
      previousExpiresAt !== null && previousExpiresAt.getTime() > now ? previousExpiresAt.toISOString() : null
  }
}

/** The members of all channels, null. A receiver has values for those of its own channel. */
const NO_TARGET = Object.fromEntries(CHANNELS.flatMap(({ members }) => Object.keys(members)).map(name => [name, null]))
