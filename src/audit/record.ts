import type { Transaction } from 'kysely'
import type { AuditContext } from '../admin-api/audit-context.ts'
import type { AuditEventTable, Database } from '../database/schema.ts'
import { BEGINNING, chainEvent } from './chain.ts'
import { insertEvent, lockNewest } from './repository.ts'

export interface NewEvent {
  siteId: string
  /** Milliseconds since the epoch. */
  at: number
  /** Kind of the resource and what happened to it, such as `registration.created`. */
  action: `${string}.${string}`
  /** Client id of the registration, or id of another resource. */
  subject: string
  /** For each changed field its value before and after, null for none. Never a secret, or a hash of one. */
  changes: AuditEventTable['changes']
  context: AuditContext
}

/**
 * Records a change by an administrator, in the transaction of the change. Call it last: other changes in this Site wait
 * from here until the transaction ends.
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

/** Maximum length of `sub` in OpenID Connect. It fits into an index entry of Postgres. */
const ACTOR_MAX_LENGTH = 255

/** Makes any `sub` storable, so that no name of an administrator keeps an event from being written. */
function storable(actor: string): string {
  return actor.slice(0, ACTOR_MAX_LENGTH).toWellFormed().replaceAll('\0', '\ufffd')
}
