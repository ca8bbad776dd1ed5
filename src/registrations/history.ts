/** The audit events of a change. Pure. */

import type { NewEvent } from '../audit/record.ts'
import { changesBetween, fieldsOf } from './fields.ts'
import type { Registration } from './repository.ts'

/**
 * Returns the events that describe a change of a registration. Moving the expiry forward is a renewal, an event of its
 * own beside the event for the other fields.
 *
 * @param before undefined for a registration that was created
 * @param after undefined for a registration that was deleted
 */
export function eventsBetween(
  before: Registration | undefined,
  after: Registration | undefined
): Pick<NewEvent, 'action' | 'changes'>[] {
  const changes = changesBetween(before && fieldsOf(before), after && fieldsOf(after))
  if (before === undefined) return [{ action: 'registration.created', changes }]
  if (after === undefined) return [{ action: 'registration.deleted', changes }]
  const { expiresAt, ...others } = changes
  const isRenewed = expiresAt !== undefined && after.expires_at > before.expires_at
  const changed = isRenewed ? others : changes
  return [
    ...(isRenewed ? [{ action: 'registration.renewed' as const, changes: { expiresAt } }] : []),
    ...(Object.keys(changed).length > 0 ? [{ action: 'registration.changed' as const, changes: changed }] : [])
  ]
}
