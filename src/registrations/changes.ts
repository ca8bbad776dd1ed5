import type { Transaction } from 'kysely'
import type { AuditContext } from '../admin-api/audit-context.ts'
import type { LockOptions } from '../admin-api/locked.ts'
import type { Site } from '../admin-api/site.ts'
import { type NewEvent, recordEvent } from '../audit/record.ts'
import type { Database } from '../database/schema.ts'
import { lockRegistration, type Registration } from './repository.ts'

/** The registration that a request changes, and who sends it. */
export interface Target {
  clientId: string
  /** The `If-Match` header. */
  ifMatch: string | undefined
  context: AuditContext
}

/** Returns how the row of a registration is locked. */
export function lockOf({ siteId }: Site, { clientId, ifMatch }: Target): LockOptions<Registration> {
  return { lock: trx => lockRegistration(trx, siteId, clientId), ifMatch }
}

/** Records the events of a change, as the last step of its transaction. @param at milliseconds since the epoch */
export async function recordEvents(
  trx: Transaction<Database>,
  { site_id: siteId, client_id: subject }: Registration,
  events: readonly Pick<NewEvent, 'action' | 'changes'>[],
  at: number,
  context: AuditContext
): Promise<void> {
  for (const event of events) await recordEvent(trx, { ...event, siteId, subject, at, context })
}
