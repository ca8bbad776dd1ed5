import type { Transaction } from 'kysely'
import { requireVersion } from '../../admin-api/if-match.ts'
import { lockRow, withLocked } from '../../admin-api/locked.ts'
import type { Site } from '../../admin-api/site.ts'
import type { Database } from '../../database/schema.ts'
import { notFound } from '../../http/problem.ts'
import { MINUTE_MS, SECOND_MS } from '../../time.ts'
import { lockOf, recordEvents, type Target } from '../changes.ts'
import { makeSecret, type NewSecret } from '../client-secret.ts'
import { credentialUses, previousCredentialOf } from '../credentials.ts'
import { rotationUnderWay } from '../errors.ts'
import { answerOnce } from '../idempotency/service.ts'
import { findRegistration, lockLastUse, lockRegistration, type Registration } from '../repository.ts'
import { representRegistration } from '../representation.ts'
import type { RegistrationOptions, SecretAnswer, SecretRequest } from '../service.ts'
import { requireUnused } from '../unused-guard.ts'
import { replaceSecret, retirePreviousSecret, rotateSecret } from './repository.ts'

/**
 * Makes a new secret. The previous one is accepted for `overlapSeconds` more, so that its consumers can change over.
 *
 * During the overlap another rotation replaces the newer secret, as long as nobody has used it: an answer that got lost
 * costs nothing. Once both secrets are in use, a third is refused, unless the overlap is 0. That ends both at once, as the
 * owner of a leaked secret needs it.
 *
 * @throws Problem 404; 409 `rotation_under_way`; 412 when `ifMatch` names another version; 422 when the Idempotency-Key
 * was used for another request; 503 when too many secrets wait to be hashed
 */
export async function rotate(
  site: Site,
  options: RegistrationOptions,
  target: Target,
  overlapSeconds: number,
  { idempotencyKey, signal }: SecretRequest
): Promise<SecretAnswer> {
  const { clientId, ifMatch, context } = target
  const { now } = options
  const answer = await answerOnce<NewSecret, SecretAnswer>(
    site,
    options,
    { idempotencyKey, context, request: ['rotate', clientId, overlapSeconds] },
    {
      prepare: async () => {
        // A hash costs far more than these checks, which the transaction repeats.
        const registration = await findRegistration(site, clientId)
        if (registration === undefined) throw notFound()
        requireVersion(ifMatch, registration.version)
        requireRotatable(registration, overlapSeconds, now())
        return makeSecret(options, site.siteId, signal)
      },
      change: async (trx, { clientSecret, hash }) => {
        const before = await lockRow(trx, lockOf(site, target))
        const at = now()
        requireRotatable(before, overlapSeconds, at)
        const previousExpiresAt = overlapSeconds === 0 ? atOnce(at) : new Date(at + overlapSeconds * SECOND_MS)
        const isCurrentUnused = isUnderWay(before, at) && credentialUses(before).current === null
        const put = isCurrentUnused ? replaceSecret : rotateSecret
        const mac = options.macKeys.create(clientId, clientSecret)
        await put(trx, clientId, { hash, mac, createdAt: new Date(at) }, previousExpiresAt)
        const after = await recordChange(trx, before, 'credential.rotated', at, target)
        return { body: { ...representRegistration(after, at), clientSecret }, version: after.version }
      }
    }
  )
  options.onChanged(clientId, answer.version)
  return answer
}

/** @throws Problem 409 `rotation_under_way` */
function requireRotatable(registration: Registration, overlapSeconds: number, now: number): void {
  const areBothUsed = isUnderWay(registration, now) && credentialUses(registration).current !== null
  if (areBothUsed && overlapSeconds > 0) throw rotationUnderWay()
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
    if (unusedForMs !== undefined) requireUnused(previous, unusedForMs, at)
    await retirePreviousSecret(trx, target.clientId, atOnce(at))
    return recordChange(trx, before, 'credential.retired', at, target)
  })
  onChanged(target.clientId, version)
}

/** Clocks of instances may differ by 30 s. Twice that is in the past for all of them. */
const PAST_FOR_ALL_MS = MINUTE_MS

/** Returns an expiry that has passed on every instance, also on one whose clock is behind. */
function atOnce(now: number): Date {
  return new Date(now - PAST_FOR_ALL_MS)
}

async function recordChange(
  trx: Transaction<Database>,
  before: Registration,
  action: 'credential.rotated' | 'credential.retired',
  at: number,
  { context }: Target
): Promise<Registration> {
  const after = (await lockRegistration(trx, before.site_id, before.client_id)) ?? before
  const changes = {
    previousCredentialExpiresAt: {
      from: iso(before.previous_secret_expires_at),
      to: iso(notBefore(after.previous_secret_expires_at, at))
    }
  }
  await recordEvents(trx, after, [{ action, changes }], at, context)
  return after
}

/** A credential that was refused at once was accepted until now. */
function notBefore(expiresAt: Date | null, now: number): Date | null {
  return expiresAt === null ? null : new Date(Math.max(expiresAt.getTime(), now))
}

function iso(instant: Date | null): string | null {
  return instant?.toISOString() ?? null
}
