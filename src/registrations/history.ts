/** The audit events of a change. Pure. */

import { instantOrNull } from '../admin-api/instant.ts'
import type { NewEvent } from '../audit/record.ts'
import { type Credential, credentialOf } from '../credentials/credential.ts'
import { describeCredential } from './credentials.ts'
import { changesBetween, fieldsOf } from './fields.ts'
import { disabledReasonOf } from './lifecycle.ts'
import type { Registration } from './repository.ts'

type RegistrationEvent = Pick<NewEvent, 'action' | 'changes'>

/**
 * Returns the events that describe a change of a registration. Moving the expiry forward is a renewal, an event of its
 * own beside the event for the other fields.
 *
 * @param before undefined for a registration that was created
 * @param after undefined for a registration that was deleted
 */
export function eventsBetween(before: Registration | undefined, after: Registration | undefined): RegistrationEvent[] {
  const changes = changesBetween(before && fieldsOf(before), after && fieldsOf(after))
  const credential = { from: currentOf(before), to: currentOf(after) }
  if (before === undefined || after === undefined) {
    const action = before === undefined ? 'registration.created' : 'registration.deleted'
    return [{ action, changes: { ...keyChange(before, after), ...changes, credential } }]
  }
  const { expiresAt, ...others } = changes
  const isRenewed = expiresAt !== undefined && after.expires_at > before.expires_at
  const cutOff = cutOffChange(before, after)
  // A renewal after the expiry moves the cut-off, and so do disabling and enabling.
  const isByRenewal = isRenewed && !('enabled' in others)
  const changed = { ...(isRenewed ? others : changes), ...(!isByRenewal && cutOff) }
  return [
    ...(isRenewed
      ? [{ action: 'registration.renewed' as const, changes: { expiresAt, ...(isByRenewal && cutOff) } }]
      : []),
    ...(Object.keys(changed).length > 0 ? [{ action: 'registration.changed' as const, changes: changed }] : [])
  ]
}

/** A key comes with the registration and goes with it. */
function keyChange(before: Registration | undefined, after: Registration | undefined): RegistrationEvent['changes'] {
  return changeOf('key', before?.key ?? null, after?.key ?? null)
}

/** Returns the event of a rotation. */
export function rotationEvent(before: Registration, after: Registration): RegistrationEvent {
  return {
    action: 'credential.rotated',
    changes: {
      credential: { from: currentOf(before), to: currentOf(after) },
      previousCredentialExpiresAt: previousExpiryChange(before, after)
    }
  }
}

/** Returns the event of the retirement of the previous credential. */
export function retirementEvent(before: Registration, after: Registration): RegistrationEvent {
  const { previous_credential: previous, previous_secret_created_at: createdAt } = before
  return {
    action: 'credential.retired',
    changes: {
      previousCredential: { from: auditedCredential(credentialOf(previous), createdAt), to: null },
      previousCredentialExpiresAt: previousExpiryChange(before, after)
    }
  }
}

/** Returns the event of a cut-off that somebody has asked for. */
export function cutOffEvent(before: Registration, after: CutOff): RegistrationEvent {
  return { action: 'tokens.revoked', changes: cutOffChange(before, after) }
}

/**
 * Returns the event of a secret that a report has stopped.
 *
 * @param credential which one it was
 * @param reported where it was found and by whom, as the report says
 */
export function leakEvent(
  before: Registration,
  after: Registration,
  credential: 'current' | 'previous',
  reported: Record<string, string | undefined>
): RegistrationEvent {
  const { previous_credential: previous, previous_secret_created_at: createdAt } = before
  const stopped =
    credential === 'current'
      ? { credential: { from: currentOf(before), to: null } }
      : { previousCredential: { from: auditedCredential(credentialOf(previous), createdAt), to: null } }
  const { from, to } = previousExpiryChange(before, after)
  const said = Object.entries(reported).flatMap(([name, to]) => (to === undefined ? [] : [[name, { from: null, to }]]))
  return {
    action: 'credential.leaked',
    changes: {
      ...stopped,
      ...changesBetween(fieldsOf(before), fieldsOf(after)),
      ...cutOffChange(before, after),
      ...changeOf('disabledReason', disabledReasonOf(before), disabledReasonOf(after)),
      ...changeOf('previousCredentialExpiresAt', from, to),
      ...Object.fromEntries(said)
    }
  }
}

function currentOf(registration: Registration | undefined) {
  if (registration === undefined) return null
  return auditedCredential(credentialOf(registration.credential), registration.secret_created_at)
}

/** Names a credential. The instant of its creation tells one secret from another. */
function auditedCredential(credential: Credential, createdAt: Date | null) {
  return { ...describeCredential(credential), createdAt: instantOrNull(createdAt) }
}

/** Returns the change of a value, or nothing when it is the same. */
function changeOf(name: string, from: string | null, to: string | null): RegistrationEvent['changes'] {
  return from === to ? {} : { [name]: { from, to } }
}

type CutOff = Pick<Registration, 'tokens_valid_from'>

function cutOffChange(before: CutOff, after: CutOff): RegistrationEvent['changes'] {
  return changeOf('tokensValidFrom', instantOrNull(before.tokens_valid_from), instantOrNull(after.tokens_valid_from))
}

/** Both are as stored, so that the next event begins where this one ends. */
function previousExpiryChange(before: Registration, after: Registration) {
  return { from: instantOrNull(before.previous_secret_expires_at), to: instantOrNull(after.previous_secret_expires_at) }
}
