import type { Transaction } from 'kysely'
import type { Database } from '../database/schema.ts'
import type { Registration } from './repository.ts'

/** The things that happen to a registration without an administrator, of which its Site gets a notice. */
export const ANNOUNCED_TYPES = [
  'claim_reused',
  'secret_leaked',
  'secret_self_rotated',
  'unused',
  'unused_disabled'
] as const

export interface Announcement {
  type: (typeof ANNOUNCED_TYPES)[number]
  /** Milliseconds since the epoch. */
  at: number
  /** More members of the event. Never a secret. */
  details: Record<string, string | null>
}

/** Sends notices to the receivers of a Site. */
export interface Announcer {
  /** Records a notice in the transaction of what it is about. */
  record: (trx: Transaction<Database>, registration: Registration, announcement: Announcement) => Promise<void>
  /** Starts to deliver what was recorded. Call it after the commit. Without it the next round of the outbox does so. */
  deliver: () => void
}
