/** What audit events tell of a receiver. Pure. */

import type { NewEvent } from '../../audit/record.ts'
import type { Receiver } from './repository.ts'

/**
 * Per field what differs between a receiver as it was and as it is; undefined before it was made, or once it is gone.
 *
 * Of a URL the origin alone: path and query of a webhook often are what lets its caller in, and an event is for ever.
 * A change within one origin is a change all the same.
 */
export function changesBetween(before: Receiver | undefined, after: Receiver | undefined): NewEvent['changes'] {
  return Object.fromEntries(
    FIELDS.filter(field => JSON.stringify(before?.[field] ?? null) !== JSON.stringify(after?.[field] ?? null)).map(
      field => [field, { from: audited(before, field), to: audited(after, field) }]
    )
  )
}

const FIELDS = ['kind', 'url', 'addresses', 'steps'] as const

function audited(receiver: Receiver | undefined, field: (typeof FIELDS)[number]): unknown {
  const value = receiver?.[field] ?? null
  return field === 'url' && typeof value === 'string' ? originAlone(value) : value
}

function originAlone(url: string): string {
  const { origin, pathname, search } = new URL(url)
  return pathname === '/' && search === '' ? origin : `${origin}/…`
}
