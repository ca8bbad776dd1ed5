import type { NewEvent } from '../../audit/record.ts'
import { channelOf } from '../channels/channels.ts'
import type { Receiver } from './repository.ts'

/**
 * Returns the changes of a receiver for an audit event: for each field its value before and after. `before` is undefined
 * for a new receiver, `after` for a deleted one.
 *
 * Values are redacted by their channel, because an event is kept for ever. A change that the redaction hides is recorded
 * all the same.
 */
export function changesBetween(before: Receiver | undefined, after: Receiver | undefined): NewEvent['changes'] {
  const [from, to] = [fieldsOf(before), fieldsOf(after)]
  const [auditedFrom, auditedTo] = [auditedFieldsOf(before), auditedFieldsOf(after)]
  const names = new Set([...Object.keys(from), ...Object.keys(to)])
  const changed = [...names].filter(name => JSON.stringify(from[name] ?? null) !== JSON.stringify(to[name] ?? null))
  return Object.fromEntries(
    changed.map(name => [name, { from: auditedFrom[name] ?? null, to: auditedTo[name] ?? null }])
  )
}

type Fields = Record<string, unknown>

function fieldsOf(receiver: Receiver | undefined): Fields {
  return receiver === undefined ? {} : { kind: receiver.kind, ...receiver.target, steps: receiver.steps }
}

function auditedFieldsOf(receiver: Receiver | undefined): Fields {
  if (receiver === undefined) return {}
  return fieldsOf({ ...receiver, target: channelOf(receiver.kind).redact(receiver.target) })
}
