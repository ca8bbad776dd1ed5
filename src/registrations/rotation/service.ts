import type { Transaction } from 'kysely'
import { requireVersion } from '../../admin-api/if-match.ts'
import { lockRow, withLocked } from '../../admin-api/locked.ts'
import type { Site } from '../../admin-api/site.ts'
import { invalidRequest } from '../../admin-api/validation.ts'
import { credentialOf } from '../../credentials/credential.ts'
import type { Database } from '../../database/schema.ts'
import { notFound } from '../../http/problem.ts'
import { MINUTE_MS, SECOND_MS } from '../../time.ts'
import { lockOf, recordEvents, type Target } from '../changes.ts'
import { endOpenTicket } from '../claims/repository.ts'
import { makeSecret } from '../client-secret.ts'
import { answerWith, type CredentialAnswer, type CredentialRequest, completed } from '../credential-answer.ts'
import type { CredentialInput } from '../credential-schemas.ts'
import { credentialUses, isSameCredential, previousCredentialOf } from '../credentials.ts'
import { rotationUnderWay, sameCredential } from '../errors.ts'
import { retirementEvent, rotationEvent } from '../history.ts'
import { answerOnce } from '../idempotency/service.ts'
import { columnsOfCredential, type NewCredential, readCredential } from '../new-credential.ts'
import {
  findRegistration,
  lockLastUse,
  type Registration,
  rereadRegistration,
  updateRegistration
} from '../repository.ts'
import type { RegistrationOptions } from '../service.ts'
import { requireUnused } from '../unused-guard.ts'
import { rotateCredential, type StoredCredentialColumns } from './repository.ts'
import { OVERLAP_DEFAULT_SECONDS, type RotationInput } from './schemas.ts'

/** The right of somebody to rotate. */
export interface RotationRight {
  /** Refuses a registration in another state. It is called before the secret is made, and again with the locked row. */
  check: (registration: Registration, at: number) => void
  /** Whether another rotation that is under way is no obstacle: its older credential ends now. */
  endsOlder?: true
  /** Uses the right up, in the transaction of the rotation. */
  use: (trx: Transaction<Database>, registration: Registration, at: number) => Promise<void>
}

/** Administrators may rotate at any time. The new credential is the one to hand over, so an open claim ticket ends. */
const OF_ADMINISTRATORS: RotationRight = {
  check: () => {},
  use: (trx, { client_id: clientId }) => endOpenTicket(trx, clientId)
}

/**
 * Gives a registration a new credential. The previous one is accepted for `overlapSeconds` more, so that its consumers can
 * change over.
 *
 * During the overlap another rotation replaces the newer credential, as long as nobody has used it: an answer that got lost
 * costs nothing. Once both are in use, a third is refused, unless the overlap is 0. That ends both at once, as the owner
 * of a leaked secret needs it. The credentials of a registration that may introspect count as used. A rotation to the
 * previous key or subject takes nothing away, so it is always possible.
 *
 * @throws Problem 400 with every fault; 404; 409 `rotation_under_way` or `same_credential`; 412 when `ifMatch` names
 * another version; 422 when the Idempotency-Key was used for another request; 503 when too many secrets wait to be hashed
 */
export async function rotate(
  site: Site,
  options: RegistrationOptions,
  target: Target,
  { overlapSeconds = OVERLAP_DEFAULT_SECONDS, ...input }: RotationInput,
  { idempotencyKey, signal }: CredentialRequest,
  right: RotationRight = OF_ADMINISTRATORS
): Promise<CredentialAnswer> {
  const { clientId, ifMatch, context } = target
  const { now } = options
  const answer = await answerOnce<NewCredential, CredentialAnswer>(
    site,
    options,
    { idempotencyKey, context, request: ['rotate', clientId, overlapSeconds, ...givenIn(input)] },
    {
      prepare: async () => {
        const read = readCredential(input, options.federatedIssuers)
        if ('faults' in read) throw invalidRequest(read.faults)
        // A hash costs far more than these checks, which the transaction repeats.
        const registration = await findRegistration(site, clientId)
        if (registration === undefined) throw notFound()
        requireVersion(ifMatch, registration.version)
        right.check(registration, now())
        if (!right.endsOlder) requireRotatable(registration, read.given, overlapSeconds, now())
        return read.given ?? makeSecret(options, site.siteId, signal)
      },
      change: async (trx, credential) => {
        const before = await lockRow(trx, lockOf(site, target))
        const at = now()
        right.check(before, at)
        await right.use(trx, before, at)
        if (!right.endsOlder) requireRotatable(before, credential, overlapSeconds, at)
        const columns = { ...columnsOfCredential(options, clientId, credential), secret_created_at: new Date(at) }
        const overlapEnd = overlapSeconds === 0 ? atOnce(at) : new Date(at + overlapSeconds * SECOND_MS)
        const isReplaced = !right.endsOlder && replacesUnused(before, credential, at)
        if (before.unclaimed) await replaceUnclaimed(trx, before, columns, overlapEnd)
        else if (isReplaced)
          await updateRegistration(trx, clientId, { ...columns, previous_secret_expires_at: overlapEnd })
        else await rotateCredential(trx, clientId, columns, overlapEnd)
        const after = await recordChange(trx, before, rotationEvent, at, target)
        return answerWith(credential, after, at)
      }
    }
  )
  options.onChanged(clientId, answer.version)
  return completed(answer)
}

/**
 * Stores the first credential that somebody has, in place of one that nobody knows. A previous credential ends no later than
 * the overlap. One that has ended never comes back: it may be one that has leaked.
 */
async function replaceUnclaimed(
  trx: Transaction<Database>,
  { client_id: clientId, previous_secret_expires_at: expiresAt }: Registration,
  columns: StoredCredentialColumns,
  overlapEnd: Date
): Promise<void> {
  const previous_secret_expires_at = expiresAt !== null && expiresAt > overlapEnd ? overlapEnd : expiresAt
  await updateRegistration(trx, clientId, { ...columns, previous_secret_expires_at })
}

/** Returns what else a retry is recognised by. Release 0.2.0 rotates to secrets only, and a retry may come to it or from it. */
function givenIn(input: CredentialInput): unknown[] {
  return Object.keys(input).length === 0 ? [] : [input]
}

/** @throws Problem 409 `rotation_under_way`, `same_credential` */
function requireRotatable(
  registration: Registration,
  credential: NewCredential | undefined,
  overlapSeconds: number,
  now: number
): void {
  if (isSameCredential(credential, credentialOf(registration.credential))) throw sameCredential()
  const areBothUsed = isUnderWay(registration, now) && isCurrentUsed(registration)
  if (areBothUsed && overlapSeconds > 0 && !goesBack(registration, credential)) throw rotationUnderWay()
}

/** Whether the current credential gives way, rather than the previous one: nobody has used it. */
function replacesUnused(registration: Registration, credential: NewCredential, now: number): boolean {
  return isUnderWay(registration, now) && !isCurrentUsed(registration) && !goesBack(registration, credential)
}

/**
 * Whether somebody may use the current credential. Introspections are not recorded, so a registration that may introspect
 * counts as one that does, unless nobody has its credential yet.
 */
function isCurrentUsed(registration: Registration): boolean {
  if (registration.may_introspect && !registration.unclaimed) return true
  return credentialUses(registration).current !== null
}

function goesBack(registration: Registration, credential: NewCredential | undefined): boolean {
  return isSameCredential(credential, credentialOf(registration.previous_credential))
}

function isUnderWay(registration: Registration, now: number): boolean {
  return previousCredentialOf(registration, now) !== undefined
}

/**
 * Refuses the previous credential from now on.
 *
 * @param unusedForMs only when there was no exchange with it in this time, milliseconds; undefined in any case
 * @throws Problem 404, also without a previous credential that is still accepted; 409 `recently_used`; 412 when `ifMatch`
 * names another version
 */
export async function retirePrevious(
  site: Site,
  { now, onChanged }: RegistrationOptions,
  target: Target,
  unusedForMs?: number
): Promise<void> {
  const { version } = await withLocked(site.db, lockOf(site, target), async (trx, before) => {
    const at = now()
    const use = unusedForMs === undefined ? {} : await lockLastUse(trx, target.clientId)
    const previous = previousCredentialOf({ ...before, ...use }, at)
    if (previous === undefined) throw notFound()
    if (unusedForMs !== undefined) {
      requireUnused({ ...previous, mayIntrospect: before.may_introspect }, unusedForMs, at)
    }
    // It stays, so that its use is noticed.
    await updateRegistration(trx, target.clientId, { previous_secret_expires_at: atOnce(at) })
    return recordChange(trx, before, retirementEvent, at, target)
  })
  onChanged(target.clientId, version)
}

/** Clocks of instances may differ by 30 s. Twice that is in the past for all of them. */
const PAST_FOR_ALL_MS = MINUTE_MS

/** Returns an expiry that has passed on every instance, also on one whose clock is behind. */
export function atOnce(now: number): Date {
  return new Date(now - PAST_FOR_ALL_MS)
}

async function recordChange(
  trx: Transaction<Database>,
  before: Registration,
  eventOf: typeof rotationEvent | typeof retirementEvent,
  at: number,
  { context }: Target
): Promise<Registration> {
  const after = await rereadRegistration(trx, before)
  await recordEvents(trx, after, [eventOf(before, after)], at, context)
  return after
}
