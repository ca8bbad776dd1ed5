/** What audit events tell of a registration. Pure. */

import type { NewEvent } from '../audit/record.ts'
import type { Registration } from './repository.ts'

/**
 * What happened to a registration, from how it was and how it is now; undefined before it was made, or once it is gone.
 * Moving its expiry forward is renewal, an event of its own beside what else was changed with it.
 */
export function eventsBetween(
  before: Registration | undefined,
  after: Registration | undefined
): Pick<NewEvent, 'action' | 'changes'>[] {
  const changes = changesBetween(before, after)
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

function changesBetween(before: Registration | undefined, after: Registration | undefined): NewEvent['changes'] {
  const [from, to] = [auditedFields(before), auditedFields(after)]
  return Object.fromEntries(
    FIELDS.map(field => [field, { from: from?.[field] ?? null, to: to?.[field] ?? null }] as const).filter(
      ([, { from, to }]) => JSON.stringify(from) !== JSON.stringify(to)
    )
  )
}

const FIELDS = ['name', 'expiresAt', 'enabled', 'scopes'] as const

function auditedFields(row: Registration | undefined): Record<(typeof FIELDS)[number], unknown> | undefined {
  if (row === undefined) return undefined
  return { name: row.name, expiresAt: row.expires_at.toISOString(), enabled: row.enabled, scopes: row.scopes }
}
