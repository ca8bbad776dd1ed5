import type { Kysely } from 'kysely'
import type { AuditContext } from '../../admin-api/audit-context.ts'
import { withLocked } from '../../admin-api/locked.ts'
import type { Site } from '../../admin-api/site.ts'
import { waitAtLeast } from '../../concurrency/timeout.ts'
import type { Database } from '../../database/schema.ts'
import { lockOf, recordEvents, type Target } from '../changes.ts'
import { cutOffEvent } from '../history.ts'
import { lockRegistration } from '../repository.ts'
import type { RegistrationOptions } from '../service.ts'
import { isCutOff } from './cut-off.ts'
import { type CutOff, countLiveRevocations, deleteRevocations, insertRevocation, moveCutOff } from './repository.ts'

/** Revocations of single tokens that a registration can have at a time. */
export const MAX_REVOCATIONS = 100

/**
 * Stops every access token of a registration. It resolves when the cut-off has come, a second later at most: each token
 * that the client obtains from then on is active.
 *
 * @throws Problem 404; 412 when `ifMatch` names another version
 */
export async function revokeTokens(
  site: Site,
  { now, onChanged }: Pick<RegistrationOptions, 'now' | 'onChanged'>,
  target: Target
): Promise<CutOff> {
  const cutOff = await withLocked(site.db, lockOf(site, target), async (trx, before) => {
    const moved = await moveCutOff(trx, target.clientId)
    await deleteRevocations(trx, target.clientId)
    await recordEvents(trx, before, [cutOffEvent(before, moved)], now(), target.context)
    return moved
  })
  onChanged(target.clientId, cutOff.version)
  await waitAtLeast(cutOff.tokens_valid_in_ms)
  return cutOff
}

/** A token that grantd has issued and whose signature was verified. */
export interface IssuedToken {
  clientId: string
  siteId: string
  jti: string
  /** `iat`, milliseconds since the epoch. */
  issuedAt: number
  /** `exp`, milliseconds since the epoch. */
  endsAt: number
}

interface RevocationOptions extends Pick<RegistrationOptions, 'now' | 'onChanged'> {
  /** Shows the Site of the token. */
  db: Kysely<Database>
}

/**
 * Revokes one access token (RFC 7009). It is not active from the commit on. A registration has at most `MAX_REVOCATIONS`
 * revocations of tokens that have not expired. One more stops all of its tokens instead.
 *
 * Revoking a token again, or one that is not active any more, changes nothing.
 *
 * @param context names the client as the actor, for the audit event of a cut-off
 */
export async function revokeToken(
  { db, now, onChanged }: RevocationOptions,
  { clientId, siteId, jti, issuedAt, endsAt }: IssuedToken,
  context: AuditContext
): Promise<void> {
  const version = await db.transaction().execute(async trx => {
    // Revocations of one registration take turns, so that their number is exact.
    const registration = await lockRegistration(trx, siteId, clientId)
    if (registration === undefined || isCutOff(registration, issuedAt)) return undefined
    await insertRevocation(trx, { client_id: clientId, jti, ends_at: new Date(endsAt) })
    if ((await countLiveRevocations(trx, clientId)) <= MAX_REVOCATIONS) return undefined
    const moved = await moveCutOff(trx, clientId)
    await deleteRevocations(trx, clientId)
    await recordEvents(trx, registration, [cutOffEvent(registration, moved)], now(), context)
    return moved.version
  })
  if (version !== undefined) onChanged(clientId, version)
}
