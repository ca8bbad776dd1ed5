import type { Transaction } from 'kysely'
import type { AuditContext } from '../admin-api/audit-context.ts'
import { type LockOptions, withLocked } from '../admin-api/locked.ts'
import { type Quota, requireRoom, requireRoomForOneMore } from '../admin-api/quota.ts'
import type { Site } from '../admin-api/site.ts'
import { invalidRequest } from '../admin-api/validation.ts'
import type { Database } from '../database/schema.ts'
import type { Fault } from '../http/problem.ts'
import { lockOf, recordEvents, type Target } from './changes.ts'
import { openTicket } from './claims/open-ticket.ts'
import { createClientId } from './client-id.ts'
import { makeSecret, makeUnknownSecret } from './client-secret.ts'
import type { CredentialInput } from './credential-schemas.ts'
import {
  addedFields,
  changesBetween,
  columnsOf,
  type FieldRules,
  faultsOf,
  faultsOfChanged,
  fieldsOf,
  judgeableFields,
  normaliseFields,
  type RegistrationFields,
  withoutAddedDefaults
} from './fields.ts'
import { eventsBetween } from './history.ts'
import { answerOnce, type IdempotencyOptions } from './idempotency/service.ts'
import { keyTaken } from './keyed/errors.ts'
import { findKeyed } from './keyed/repository.ts'
import {
  columnsOfCredential,
  credentialFaults,
  type NewCredential,
  type NewCredentialOptions,
  readCredential
} from './new-credential.ts'
import {
  countOfSite,
  deleteRegistration,
  findRegistration,
  insertRegistration,
  lockLastUse,
  NEVER_USED,
  type Registration,
  type RegistrationColumns,
  rereadRegistration,
  updateRegistration
} from './repository.ts'
import { representRegistration } from './representation.ts'
import type { CreatedRegistrationBody, RegistrationBody } from './schemas.ts'
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

/** How a new secret is handed over: in the answer, or to the holder of a claim ticket. */
export interface DeliveryInput {
  deliver?: 'secret' | 'claim'
}

export interface CreateInput extends RegistrationFields, CredentialInput, DeliveryInput {
  key?: string
}

/** How a caller asks for a new credential. */
export interface CredentialRequest {
  /** The `Idempotency-Key` header. */
  idempotencyKey: string | undefined
  /** Aborts when the caller hangs up. */
  signal: AbortSignal
}

/** The answer with a new credential. A retry gets it again, byte for byte. */
export interface CredentialAnswer {
  body: CreatedRegistrationBody
  /** Version of the registration in it. */
  version: number
}

/**
 * Creates a registration with the credential that the caller gives, or with a secret. A secret exists in the answer only:
 * grantd stores a hash of it.
 *
 * @throws Problem 400 with every fault; 409 `key_taken` or `quota_exceeded`; 422 when the Idempotency-Key was used for
 * another request; 503 when too many secrets wait to be hashed
 */
export async function createRegistration(
  site: Site,
  options: RegistrationOptions,
  input: CreateInput,
  { context, idempotencyKey, signal }: CredentialRequest & { context: AuditContext }
): Promise<CredentialAnswer> {
  const { key } = input
  const answer = await answerOnce(
    site,
    options,
    // A retry may come to release 0.2.0, or from it.
    { idempotencyKey, context, request: ['create', withoutAddedDefaults(input)] },
    {
      prepare: async () => {
        await requireFreeKey(site, key)
        return prepareNew(site, options, input, signal)
      },
      change: async (trx, made) => {
        await requireRoom(trx, site.siteId, quotaOf(options))
        await requireFreeKey({ ...site, db: trx }, key)
        return insertNew(trx, site, options, made, context)
      }
    }
  )
  return completed(answer)
}

/** @throws Problem 409 `key_taken` */
async function requireFreeKey(site: Site, key: string | undefined): Promise<void> {
  if (key !== undefined && (await findKeyed(site, key)) !== undefined) throw keyTaken(key)
}

export function quotaOf({ maxPerSite }: RegistrationOptions): Quota {
  return { of: 'registrations', maxPerSite, count: countOfSite }
}

/** A registration that is ready to be inserted. */
export interface NewRegistration {
  key: string | null
  fields: RegistrationFields
  credential: NewCredential
  /** Whether the secret is to be claimed. */
  unclaimed: boolean
}

/**
 * Checks what is to be created, and makes its secret. Nothing is hashed for a credential that the caller gives.
 *
 * @param signal aborts when the caller hangs up. Without one, nobody gets the secret, and none is hashed
 * @throws Problem 400 with every fault; 409 `quota_exceeded`; 503 when too many secrets wait to be hashed
 */
export async function prepareNew(
  site: Site,
  options: RegistrationOptions,
  input: CreateInput,
  signal: AbortSignal | undefined
): Promise<NewRegistration> {
  const { key = null, publicKey, federated, deliver, ...members } = input
  const fields = normaliseFields(members)
  const read = readCredential({ publicKey, federated }, options.federatedIssuers)
  const faults = [
    ...faultsOf(fields, rulesOf(options)),
    ...('faults' in read ? read.faults : []),
    ...deliveryFaults(input)
  ]
  if ('faults' in read || faults.length > 0) throw invalidRequest(faults)
  await requireRoomForOneMore(site, quotaOf(options))
  const unclaimed = deliver === 'claim'
  const makeOwn = () =>
    unclaimed || signal === undefined
      ? makeUnknownSecret(options.secretPrefix)
      : makeSecret(options, site.siteId, signal)
  return { key, fields, credential: read.given ?? (await makeOwn()), unclaimed }
}

/** Inserts a registration. Call it when there is room and the key is free, with other creates held back. */
export async function insertNew(
  trx: Transaction<Database>,
  { siteId }: Site,
  options: RegistrationOptions,
  { key, fields, credential, unclaimed }: NewRegistration,
  context: AuditContext
): Promise<CredentialAnswer> {
  const at = options.now()
  const clientId = createClientId()
  const credentialColumns = columnsOfCredential(options, clientId, credential)
  const { credential: stored } = credentialColumns
  const columns = { ...createdColumns(clientId, siteId, fields, at), key, credential: stored, unclaimed }
  const registration = { ...columns, ...NEVER_USED }
  await insertRegistration(trx, { ...columns, ...credentialColumns })
  const claim = unclaimed ? await openTicket(trx, clientId, at) : undefined
  await recordEvents(trx, registration, eventsBetween(undefined, registration), at, context)
  if (claim === undefined) return answerWith(credential, registration, at)
  return { body: { ...representRegistration(registration, at), claim }, version: registration.version }
}

/** Members of an answer that release 0.2.0 has. */
type FirstMembers = Pick<
  RegistrationBody,
  | ('clientId' | 'name' | 'expiresAt' | 'enabled' | 'scopes' | 'registeredAt' | 'lastUsedAt')
  | ('expiresInDays' | 'state' | 'credential' | 'previousCredential')
>

/** Members that came later, with their values in an answer that release 0.2.0 stored for a retry. A forgotten one is a type error. */
const addedMembers: Omit<RegistrationBody, keyof FirstMembers> = {
  key: null,
  ...addedFields,
  exchangeCount: 0,
  disabledReason: null,
  tokensValidFrom: null,
  unclaimed: false
}

/** Completes an answer that another release may have stored. */
export function completed({ body, version }: CredentialAnswer): CredentialAnswer {
  // The members that the body has keep their values and their order.
  return { body: { ...body, ...addedMembers, ...body }, version }
}

/** Returns the answer with a registration that has a new credential. @param at milliseconds since the epoch */
export function answerWith(credential: NewCredential, registration: Registration, at: number): CredentialAnswer {
  const { version } = registration
  const secret = credential.kind === 'secret' && { clientSecret: credential.clientSecret }
  return { body: { ...representRegistration(registration, at), ...secret }, version }
}

function createdColumns(
  clientId: string,
  siteId: string,
  fields: RegistrationFields,
  at: number
): Omit<RegistrationColumns, 'key' | 'credential' | 'unclaimed'> {
  const now = new Date(at)
  return {
    client_id: clientId,
    site_id: siteId,
    ...columnsOf(fields),
    expiry_set_at: now,
    registered_at: now,
    version: 1,
    disabled_reason: null,
    tokens_valid_from: null,
    enabled_at: null,
    unused_noticed_at: null,
    credential_number: 1,
    secret_created_at: now,
    previous_credential: null,
    previous_secret_created_at: null,
    previous_secret_expires_at: null
  }
}

/** Returns what the rules refuse in the members of a body that the schema accepts. */
export function faultsOfCreate(options: RegistrationOptions, body: object): Fault[] {
  return [
    ...faultsOf(judgeableFields(body), rulesOf(options)),
    ...credentialFaults(options, body),
    ...deliveryFaults(body)
  ]
}

/** A key or a subject is no secret that could be claimed. */
export function deliveryFaults(body: object): Fault[] {
  const { deliver, publicKey, federated } = Object(body)
  if (deliver !== 'claim' || (publicKey === undefined && federated === undefined)) return []
  return [{ pointer: '/deliver', code: 'two_credentials', detail: 'must be secret beside publicKey or federated' }]
}

/** Returns what the rules refuse in the members that the schema accepts. A field that keeps its value is not judged. */
export async function faultsOfChange(
  site: Site,
  options: RegistrationOptions,
  clientId: string,
  body: object
): Promise<Fault[]> {
  const registration = await findRegistration(site, clientId)
  if (registration === undefined) return []
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
    refuse(faultsOfChanged(fieldsOf(before), fields, rules))
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

function refuse(faults: readonly Fault[]): void {
  if (faults.length > 0) throw invalidRequest(faults)
}
