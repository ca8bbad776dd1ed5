import type { Transaction } from 'kysely'
import type { AuditContext } from '../../admin-api/audit-context.ts'
import { type Quota, requireRoom, requireRoomForOneMore } from '../../admin-api/quota.ts'
import type { Site } from '../../admin-api/site.ts'
import { invalidRequest } from '../../admin-api/validation.ts'
import type { Database } from '../../database/schema.ts'
import type { Fault } from '../../http/problem.ts'
import { recordEvents } from '../changes.ts'
import { openTicket } from '../claims/open-ticket.ts'
import { createClientId } from '../client-id.ts'
import { makeSecret, makeUnknownSecret } from '../client-secret.ts'
import { answerWith, type CredentialAnswer, type CredentialRequest, completed } from '../credential-answer.ts'
import type { CredentialInput } from '../credential-schemas.ts'
import {
  columnsOf,
  faultsOf,
  judgeableFields,
  normaliseFields,
  type RegistrationFields,
  withoutAddedDefaults
} from '../fields.ts'
import { eventsBetween } from '../history.ts'
import { answerOnce } from '../idempotency/service.ts'
import { keyTaken } from '../keyed/errors.ts'
import { findKeyed } from '../keyed/repository.ts'
import { columnsOfCredential, credentialFaults, type NewCredential, readCredential } from '../new-credential.ts'
import { countOfSite, insertRegistration, NEVER_USED, type RegistrationColumns } from '../repository.ts'
import { representRegistration } from '../representation.ts'
import { type RegistrationOptions, rulesOf } from '../service.ts'

/** How a new secret is handed over: in the answer, or to the holder of a claim ticket. */
export interface DeliveryInput {
  deliver?: 'secret' | 'claim'
}

export interface CreateInput extends RegistrationFields, CredentialInput, DeliveryInput {
  key?: string
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
