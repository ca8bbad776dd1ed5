import type { Transaction } from 'kysely'
import type { AuditContext } from '../admin-api/audit-context.ts'
import type { AuditEventTable, Database } from '../database/schema.ts'
import { BEGINNING, chainEvent } from './chain.ts'
import { insertEvent, lockNewest } from './repository.ts'

export interface NewEvent {
  siteId: string
  /** Milliseconds since the epoch. */
  at: number
  /** What was done to what kind of thing: `registration.created`, `receiver.deleted`. */
  action: `${string}.${string}`
  /** Client id of the registration, or id of what else was acted on. */
  subject: string
  /** Per field its value before and after, null where there was none. Never a secret or the hash of one. */
  changes: AuditEventTable['changes']
  context: AuditContext
}

/**
 * Records what an administrator did, in the transaction that does it. Call it last: other changes in this Site
 * wait from here to the end of the transaction.
 */
export async function recordEvent(trx: Transaction<Database>, event: NewEvent): Promise<void> {
  const { siteId, at, action, subject, changes, context } = event
  const newest = (await lockNewest(trx, siteId)) ?? BEGINNING
  await insertEvent(
    trx,
    chainEvent(newest, {
      site_id: siteId,
      occurred_at: new Date(at),
      action,
      subject,
      actor: storable(context.actor),
      actor_issuer: context.issuer,
      request_id: context.requestId,
      source: context.source,
      changes
    })
  )
}

/** OpenID Connect's limit on `sub`; an index entry of Postgres has room for it. */
const ACTOR_MAX_LENGTH = 255

/** Whatever an identity provider calls its people, the event is written. */
function storable(actor: string): string {
  return actor.slice(0, ACTOR_MAX_LENGTH).toWellFormed().replaceAll('\0', '\ufffd')
}
