import type { Transaction } from 'kysely'
import type { Site } from '../../admin-api/site.ts'
import { checksumOf, createClientSecret } from '../../credentials/secret.ts'
import type { Database } from '../../database/schema.ts'
import { notFound } from '../../http/problem.ts'
import { rotationUnderWay } from '../errors.ts'
import { previousSecretOf, secretUses } from '../lifecycle.ts'
import {
  lockRegistration,
  type Registration,
  replaceSecret,
  retirePreviousSecret,
  rotateSecret,
  type StoredSecret
} from '../repository.ts'
import { hashBehindGate, type RegistrationOptions, record, type Target, withLockedRegistration } from '../service.ts'

/**
 * Makes a new secret; the one so far works on for `overlapSeconds`, so that no consumer is ever without one that works.
 *
 * While two secrets work, a new one takes the place of the newer, if nobody has used that yet: an answer that got lost
 * costs nothing. Once both are in use there is no third.
 *
 * @throws Problem 404; 409 `rotation_under_way`; 412 when `ifMatch` is of another version; 503 when too much hashing waits
 */
export async function rotate(
  site: Site,
  needs: RegistrationOptions,
  target: Target,
  overlapSeconds: number
): Promise<{ registration: Registration; clientSecret: string }> {
  const clientSecret = createClientSecret(needs.secretPrefix)
  const hash = await hashBehindGate(needs.gate, clientSecret)
  const registration = await change(site, needs, target, 'registration.rotated', async (trx, before, now) => {
    const secret: StoredSecret = { hash, checksum: checksumOf(clientSecret), createdAt: new Date(now) }
    const previousExpiresAt = overlapSeconds === 0 ? atOnce(now) : new Date(now + overlapSeconds * 1_000)
    const isUnderWay = previousSecretOf(before, now) !== undefined
    if (isUnderWay && secretUses(before).current !== null) throw rotationUnderWay()
    await (isUnderWay ? replaceSecret : rotateSecret)(trx, target.clientId, secret, previousExpiresAt)
  })
  return { registration, clientSecret }
}

/**
 * Refuses the secret before the latest rotation from now on.
 *
 * @throws Problem 404, also when there is none that works; 412 when `ifMatch` is of another version
 */
export async function retirePrevious(site: Site, needs: RegistrationOptions, target: Target): Promise<void> {
  await change(site, needs, target, 'secret.retired', async (trx, before, now) => {
    if (previousSecretOf(before, now) === undefined) throw notFound()
    await retirePreviousSecret(trx, target.clientId, atOnce(now))
  })
}

/** Clocks of instances may differ by 30 s; twice that is past for all of them. */
const PAST_FOR_ALL_MS = 60_000

/** The expiry of what is refused from the next request on, also by an instance whose clock is behind. */
function atOnce(now: number): Date {
  return new Date(now - PAST_FOR_ALL_MS)
}

function change(
  site: Site,
  { now }: RegistrationOptions,
  target: Target,
  action: 'registration.rotated' | 'secret.retired',
  apply: (trx: Transaction<Database>, before: Registration, now: number) => Promise<void>
): Promise<Registration> {
  return withLockedRegistration(site, target, async (trx, before) => {
    const at = now()
    await apply(trx, before, at)
    const after = (await lockRegistration(trx, site.siteId, target.clientId)) ?? before
    const changes = {
      previousSecretExpiresAt: {
        from: iso(before.previous_secret_expires_at),
        to: iso(endOf(after.previous_secret_expires_at, at))
      }
    }
    await record(trx, after, [{ action, changes }], at, target.context)
    return after
  })
}

/** What ended at once ended now. */
function endOf(expiresAt: Date | null, now: number): Date | null {
  return expiresAt === null ? null : new Date(Math.max(expiresAt.getTime(), now))
}

function iso(instant: Date | null): string | null {
  return instant?.toISOString() ?? null
}
