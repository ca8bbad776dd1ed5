import type { Transaction } from 'kysely'
import type { AuditContext } from '../admin-api/audit-context.ts'
import { type LockOptions, withLocked } from '../admin-api/locked.ts'
import type { Site } from '../admin-api/site.ts'
import { invalidRequest } from '../admin-api/validation.ts'
import type { Database } from '../database/schema.ts'
import type { Fault } from '../http/problem.ts'
import { lockOf, recordEvents, type Target } from './changes.ts'
import {
  changesBetween,
  columnsOf,
  type FieldRules,
  faultsOfChanged,
  fieldsOf,
  judgeableFields,
  normaliseFields,
  type RegistrationFields
} from './fields.ts'
import { eventsBetween } from './history.ts'
import type { IdempotencyOptions } from './idempotency/service.ts'
import type { NewCredentialOptions } from './new-credential.ts'
import {
  deleteRegistration,
  findRegistration,
  lockLastUse,
  type Registration,
  rereadRegistration,
  updateRegistration
} from './repository.ts'
import { requireUnused } from './unused-guard.ts'

export interface RegistrationOptions extends NewCredentialOptions, IdempotencyOptions {
  /** Milliseconds since the epoch. */
  now: () => number
  maxLifetimeDays: number
  maxPerSite: number
  /** The only scopes that a registration can be given. Undefined for any. */
  scopesSupported: readonly string[] | undefined
  /** ACCESS_TOKEN_TTL_SECONDS */
  maxTokenLifetimeSeconds: number
  /** Called when a change is committed, with the new version; Infinity for a deletion. */
  onChanged: (clientId: string, version: number) => void
}

/** Returns what the rules refuse in the members that the schema accepts. A field that keeps its value is not judged. */
export async function faultsOfChange(
  site: Site,
  options: RegistrationOptions,
  clientId: string,
  body: object
): Promise<Fault[]> {
  const registration = await findRegistration(site, clientId)
  return registration === undefined ? [] : fieldFaults(options, registration, body)
}

/** Returns what the rules refuse in the fields that a body would change. */
export function fieldFaults(options: RegistrationOptions, registration: Registration, body: object): Fault[] {
  const fields = fieldsOf(registration)
  return faultsOfChanged(fields, { ...fields, ...judgeableFields(body) }, rulesOf(options))
}

export function rulesOf({ now, ...limits }: RegistrationOptions): FieldRules {
  return { ...limits, now: now() }
}

/**
 * Changes the fields in `input` and leaves the others. Moving `expiresAt` forward renews the registration, before or
 * after its expiry, with the same client id and secret.
 *
 * @throws Problem 400 with every fault; 404; 412 when `ifMatch` names another version
 */
export async function changeRegistration(
  site: Site,
  options: RegistrationOptions,
  target: Target,
  input: Partial<RegistrationFields>
): Promise<Registration> {
  const registration = await withLocked(site.db, lockOf(site, target), async (trx, before) => {
    const rules = rulesOf(options)
    const fields = normaliseFields({ ...fieldsOf(before), ...input })
    // An expired registration can be renamed.
    const faults = faultsOfChanged(fieldsOf(before), fields, rules)
    if (faults.length > 0) throw invalidRequest(faults)
    return changeFields(trx, before, fields, rules.now, target.context)
  })
  options.onChanged(target.clientId, registration.version)
  return registration
}

/**
 * Gives a registration, whose row the transaction has locked, these fields. When it has them, nothing is written.
 *
 * @param fields without faults, as `normaliseFields` returns them
 * @param at milliseconds since the epoch
 */
export async function changeFields(
  trx: Transaction<Database>,
  before: Registration,
  fields: RegistrationFields,
  at: number,
  context: AuditContext
): Promise<Registration> {
  const changes = changesBetween(fieldsOf(before), fields)
  if (Object.keys(changes).length === 0) return before
  const columns = {
    ...columnsOf(fields),
    ...('expiresAt' in changes && { expiry_set_at: new Date(at) }),
    ...('enabled' in changes && { disabled_reason: null }),
    ...('enabled' in changes && fields.enabled && { enabled_at: new Date(at) })
  }
  await updateRegistration(trx, before.client_id, columns)
  const after = await rereadRegistration(trx, before)
  await recordEvents(trx, before, eventsBetween(before, after), at, context)
  return after
}

/**
 * Deletes a registration.
 *
 * @param lock finds it
 * @param unusedForMs only when there was no exchange in this time, milliseconds; undefined in any case
 * @throws Problem 404; 409 `recently_used`; 412 when `ifMatch` names another version
 */
export async function removeRegistration(
  { db }: Site,
  { now, onChanged }: RegistrationOptions,
  lock: LockOptions<Registration>,
  context: AuditContext,
  unusedForMs?: number
): Promise<void> {
  const clientId = await withLocked(db, lock, async (trx, before) => {
    const at = now()
    const { client_id: clientId } = before
    if (unusedForMs !== undefined) {
      const { last_used_at: lastUsedAt } = await lockLastUse(trx, clientId)
      const { registered_at: createdAt, may_introspect: mayIntrospect } = before
      requireUnused({ lastUsedAt, createdAt, mayIntrospect }, unusedForMs, at)
    }
    await deleteRegistration(trx, clientId)
    await recordEvents(trx, before, eventsBetween(before, undefined), at, context)
    return clientId
  })
  onChanged(clientId, Number.POSITIVE_INFINITY)
}
