import type { Transaction } from 'kysely'
import type { AuditContext } from '../admin-api/audit-context.ts'
import { parseInstant } from '../admin-api/instant.ts'
import { withLocked } from '../admin-api/locked.ts'
import { type Quota, requireRoom } from '../admin-api/quota.ts'
import type { Site } from '../admin-api/site.ts'
import { invalidRequest } from '../admin-api/validation.ts'
import { recordEvent } from '../audit/record.ts'
import { type Semaphore, SemaphoreFull } from '../concurrency/semaphore.ts'
import { createClientSecret, hashClientSecret } from '../credentials/secret.ts'
import type { Database } from '../database/schema.ts'
import type { Fault } from '../http/problem.ts'
import { createClientId } from './client-id.ts'
import { idempotencyKeyReused, tooBusy } from './errors.ts'
import { eventsBetween } from './history.ts'
import { findSealedCreate, insertSealedCreate } from './idempotency/repository.ts'
import {
  deriveRetryKey,
  isSameInput,
  type MadeRegistration,
  openCreate,
  type RetryKey,
  sealCreate
} from './idempotency/sealed-create.ts'
import { expiryFault, foldName, nameFault, normaliseName } from './lifecycle.ts'
import {
  countOfSite,
  deleteRegistration,
  insertRegistration,
  lockRegistration,
  type Registration,
  type RegistrationChange,
  updateRegistration
} from './repository.ts'
import type { NewRegistration } from './schemas.ts'

/** What deciding on registrations needs. */
export interface RegistrationOptions {
  gate: Semaphore
  /** Milliseconds since the epoch. */
  now: () => number
  /** Mixed into what an Idempotency-Key yields: 32 bytes, the same on every instance. */
  retryPepper: Buffer
  secretPrefix: string
  maxLifetimeDays: number
  maxPerSite: number
}

/** How long a retry gets the answer of the first try, milliseconds. */
const RETRY_LIFETIME_MS = 10 * 60_000

/**
 * Makes a registration. The secret exists in the answer only; what stays is its hash, and for a while what only the
 * caller's `idempotencyKey` opens.
 *
 * @param idempotencyKey one that this caller has used in this Site before answers with what was made then
 * @throws Problem 400 with every fault; 409 `quota_exceeded`; 422 when the key was used with another input;
 * 503 when too much hashing is waiting
 */
export async function createRegistration(
  site: Site,
  needs: RegistrationOptions,
  input: NewRegistration,
  context: AuditContext,
  idempotencyKey?: string
): Promise<{ registration: Registration; clientSecret: string }> {
  const retryKey =
    idempotencyKey === undefined ? undefined : deriveRetryKey(needs.retryPepper, site.siteId, context, idempotencyKey)
  const made =
    (await findMade(site, needs, input, retryKey)) ??
    (await makeRegistration(site, needs, input, context, retryKey)) ??
    // A twin of this request was faster.
    (await findMade(site, needs, input, retryKey))
  if (made === undefined) throw tooBusy()
  return { registration: registrationOf(site.siteId, made), clientSecret: made.clientSecret }
}

/** @throws Problem 422 when what this key has made was asked for by another input */
async function findMade(
  { db }: Site,
  { now }: RegistrationOptions,
  input: NewRegistration,
  retryKey: RetryKey | undefined
): Promise<MadeRegistration | undefined> {
  if (retryKey === undefined) return undefined
  const sealed = await findSealedCreate(db, retryKey.digest, now())
  if (sealed === undefined) return undefined
  const made = openCreate(retryKey, sealed)
  if (!isSameInput(made.input, input)) throw idempotencyKeyReused()
  return made
}

/** @returns undefined, and makes nothing, when there is something of this key already */
async function makeRegistration(
  { siteId, db }: Site,
  { gate, now, secretPrefix, maxLifetimeDays, maxPerSite }: RegistrationOptions,
  input: NewRegistration,
  context: AuditContext,
  retryKey: RetryKey | undefined
): Promise<MadeRegistration | undefined> {
  const registeredAt = now()
  const [name, expiresAt] = [normaliseName(input.name), parseInstant(input.expiresAt)]
  refuse([nameFault(name), expiryFault(expiresAt, registeredAt, maxLifetimeDays)])

  const clientSecret = createClientSecret(secretPrefix)
  const made = { input, clientId: createClientId(), clientSecret, registeredAt }
  const registration = registrationOf(siteId, made)
  const {
    last_used_at: _never,
    odd_credential_used_at: _odd,
    even_credential_used_at: _even,
    ...columns
  } = registration
  const row = {
    ...columns,
    name_folded: foldName(name),
    expiry_set_at: registration.registered_at,
    secret_hash: await hashBehindGate(gate, clientSecret),
    secret_checksum: null,
    previous_secret_hash: null
  }
  const sealed = retryKey && {
    key_digest: retryKey.digest,
    sealed: sealCreate(retryKey, made),
    expires_at: new Date(registeredAt + RETRY_LIFETIME_MS)
  }
  return db.transaction().execute(async trx => {
    // First: a twin waits here, and holds nothing that we need.
    if (sealed !== undefined && !(await insertSealedCreate(trx, sealed, registeredAt))) return undefined
    await requireRoom(trx, siteId, quotaOf(maxPerSite))
    await insertRegistration(trx, row)
    await record(trx, registration, eventsBetween(undefined, registration), registeredAt, context)
    return made
  })
}

function quotaOf(maxPerSite: number): Quota {
  return { of: 'registrations', maxPerSite, count: countOfSite }
}

/** A registration as it was made. */
function registrationOf(siteId: string, { input, clientId, registeredAt }: MadeRegistration): Registration {
  return {
    client_id: clientId,
    site_id: siteId,
    name: normaliseName(input.name),
    scopes: input.scopes,
    enabled: input.enabled,
    registered_at: new Date(registeredAt),
    expires_at: new Date(parseInstant(input.expiresAt)),
    version: 1,
    credential_number: 1,
    secret_created_at: new Date(registeredAt),
    previous_secret_created_at: null,
    previous_secret_expires_at: null,
    last_used_at: null,
    odd_credential_used_at: null,
    even_credential_used_at: null
  }
}

/**
 * Changes what `input` names and leaves the rest. Moving `expiresAt` is renewal: before or after expiry,
 * for the same client id and secret.
 *
 * @throws Problem 400 with every fault; 404; 412 when `ifMatch` names another version
 */
export function changeRegistration(
  site: Site,
  options: RegistrationOptions,
  target: Target,
  input: Partial<NewRegistration>
): Promise<Registration> {
  return withLockedRegistration(site, target, async (trx, before) => {
    const change = changeOf(options, before, input)
    if (Object.keys(change).length === 0) return before
    await updateRegistration(trx, target.clientId, change)
    const after = { ...before, ...change, version: before.version + 1 }
    await record(trx, before, eventsBetween(before, after), options.now(), target.context)
    return after
  })
}

/** @throws Problem 404; 412 when `ifMatch` names another version */
export function removeRegistration(site: Site, { now }: RegistrationOptions, target: Target): Promise<void> {
  return withLockedRegistration(site, target, async (trx, before) => {
    await deleteRegistration(trx, target.clientId)
    await record(trx, before, eventsBetween(before, undefined), now(), target.context)
  })
}

/** The registration that a request changes, and who asks. */
export interface Target {
  clientId: string
  /** The `If-Match` header. */
  ifMatch: string | undefined
  context: AuditContext
}

/** @throws Problem 404; 412 when `ifMatch` names another version */
export function withLockedRegistration<Result>(
  { siteId, db }: Site,
  { clientId, ifMatch }: Target,
  change: (trx: Transaction<Database>, before: Registration) => Promise<Result>
): Promise<Result> {
  return withLocked(db, { lock: trx => lockRegistration(trx, siteId, clientId), ifMatch }, change)
}

/** In the transaction of the change. */
export async function record(
  trx: Transaction<Database>,
  { site_id: siteId, client_id: subject }: Registration,
  events: ReturnType<typeof eventsBetween>,
  at: number,
  context: AuditContext
): Promise<void> {
  for (const event of events) await recordEvent(trx, { ...event, siteId, subject, at, context })
}

/** What differs from the registration as it is; what it has already is not judged again. */
function changeOf(
  { now, maxLifetimeDays }: RegistrationOptions,
  registration: Registration,
  input: Partial<NewRegistration>
): RegistrationChange {
  const change: RegistrationChange = {}
  const faults: (Fault | undefined)[] = []
  const name = input.name === undefined ? registration.name : normaliseName(input.name)
  if (name !== registration.name) {
    faults.push(nameFault(name))
    change.name = name
    change.name_folded = foldName(name)
  }
  const expiresAt = input.expiresAt === undefined ? registration.expires_at.getTime() : parseInstant(input.expiresAt)
  if (expiresAt !== registration.expires_at.getTime()) {
    const at = now()
    faults.push(expiryFault(expiresAt, at, maxLifetimeDays))
    change.expires_at = new Date(expiresAt)
    change.expiry_set_at = new Date(at)
  }
  if (input.enabled !== undefined && input.enabled !== registration.enabled) change.enabled = input.enabled
  if (input.scopes !== undefined && input.scopes.join(' ') !== registration.scopes.join(' ')) {
    change.scopes = input.scopes
  }
  refuse(faults)
  return change
}

function refuse(faults: readonly (Fault | undefined)[]): void {
  const found = faults.filter(fault => fault !== undefined)
  if (found.length > 0) throw invalidRequest(found)
}

/** @throws Problem 503 when too much hashing is waiting */
export async function hashBehindGate(gate: Semaphore, clientSecret: string): Promise<string> {
  try {
    return await gate.run(() => hashClientSecret(clientSecret))
  } catch (error) {
    throw error instanceof SemaphoreFull ? tooBusy() : error
  }
}
