import type { Kysely } from 'kysely'
import type { Database, RegistrationTable } from '../database/schema.ts'
import { type Fault, notFound } from '../http/problem.ts'
import { invalidRequest } from '../http/validation.ts'
import { createClientId } from './client-id.ts'
import { createClientSecret, hashClientSecret } from './client-secret.ts'
import { quotaExceeded, staleVersion, tooBusy } from './errors.ts'
import { allowsVersion } from './etag.ts'
import { type HashGate, HashGateFull } from './hash-gate.ts'
import { expiryFault, foldName, nameFault, normaliseName, parseInstant } from './lifecycle.ts'
import {
  countForQuota,
  deleteRegistration,
  insertRegistration,
  lockRegistration,
  type Registration,
  type RegistrationChange,
  updateRegistration
} from './repository.ts'

/** What deciding on registrations needs. */
export interface RegistrationNeeds {
  db: Kysely<Database>
  gate: HashGate
  /** Milliseconds since the epoch. */
  now: () => number
  secretPrefix: string
  maxLifetimeDays: number
  maxPerSite: number
}

export interface NewRegistration {
  name: string
  expiresAt: string
  enabled: boolean
  scopes: string[]
}

/**
 * Makes a registration. The secret exists in the answer only; what stays is its hash.
 *
 * @throws Problem 400 with every fault; 409 `quota_exceeded`; 503 when too much hashing is waiting
 */
export async function createRegistration(
  needs: RegistrationNeeds,
  siteId: string,
  input: NewRegistration
): Promise<{ registration: Registration; clientSecret: string }> {
  const now = needs.now()
  const name = normaliseName(input.name)
  const expiresAt = parseInstant(input.expiresAt)
  refuse([nameFault(name), expiryFault(expiresAt, now, needs.maxLifetimeDays)])

  const clientSecret = createClientSecret(needs.secretPrefix)
  const row: RegistrationTable = {
    client_id: createClientId(),
    site_id: siteId,
    name,
    name_folded: foldName(name),
    secret_hash: await hashBehindGate(needs.gate, clientSecret),
    scopes: input.scopes,
    enabled: input.enabled,
    registered_at: new Date(now),
    expires_at: new Date(expiresAt),
    expiry_set_at: new Date(now),
    version: 1
  }
  await needs.db.transaction().execute(async trx => {
    if ((await countForQuota(trx, siteId)) >= needs.maxPerSite) throw quotaExceeded(needs.maxPerSite)
    await insertRegistration(trx, row)
  })
  return { registration: { ...row, last_used_at: null }, clientSecret }
}

/**
 * Changes what `input` names and leaves the rest. Moving `expiresAt` is renewal: before or after expiry,
 * for the same client id and secret.
 *
 * @param ifMatch the `If-Match` header
 * @throws Problem 400 with every fault; 404; 412 when `ifMatch` is of another version
 */
export function changeRegistration(
  needs: RegistrationNeeds,
  siteId: string,
  clientId: string,
  input: Partial<NewRegistration>,
  ifMatch: string | undefined
): Promise<Registration> {
  return needs.db.transaction().execute(async trx => {
    const registration = await lockRegistration(trx, siteId, clientId)
    if (registration === undefined) throw notFound()
    if (!allowsVersion(ifMatch, registration.version)) throw staleVersion()
    const change = changeOf(needs, registration, input)
    if (Object.keys(change).length === 0) return registration
    await updateRegistration(trx, clientId, change)
    return { ...registration, ...change, version: registration.version + 1 }
  })
}

/** @throws Problem 404; 412 when `ifMatch` is of another version */
export async function removeRegistration(
  needs: RegistrationNeeds,
  siteId: string,
  clientId: string,
  ifMatch: string | undefined
): Promise<void> {
  await needs.db.transaction().execute(async trx => {
    const registration = await lockRegistration(trx, siteId, clientId)
    if (registration === undefined) throw notFound()
    if (!allowsVersion(ifMatch, registration.version)) throw staleVersion()
    await deleteRegistration(trx, clientId)
  })
}

/** What differs from the registration as it is; what it has already is not judged again. */
function changeOf(
  { now, maxLifetimeDays }: RegistrationNeeds,
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

async function hashBehindGate(gate: HashGate, clientSecret: string): Promise<string> {
  try {
    return await gate.run(() => hashClientSecret(clientSecret))
  } catch (error) {
    throw error instanceof HashGateFull ? tooBusy() : error
  }
}
