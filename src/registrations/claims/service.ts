import type { AuditContext } from '../../admin-api/audit-context.ts'
import { throughGate } from '../../admin-api/gate.ts'
import { withLocked } from '../../admin-api/locked.ts'
import type { Site } from '../../admin-api/site.ts'
import type { Semaphore } from '../../concurrency/semaphore.ts'
import type { Tables } from '../../database/site-scoped-pool.ts'
import { Problem } from '../../http/problem.ts'
import type { Announcer } from '../announcement.ts'
import { lockOf, recordEvents, type Target } from '../changes.ts'
import type { CredentialAnswer, CredentialRequest } from '../credential-answer.ts'
import { TOO_MANY_PUBLIC_REQUESTS } from '../public-requests.ts'
import { lockRegistration, type Registration } from '../repository.ts'
import { type RotationRight, rotate } from '../rotation/service.ts'
import type { RegistrationOptions } from '../service.ts'
import { claimed, invalidTicket, notUsableNow } from './errors.ts'
import { openTicket } from './open-ticket.ts'
import { type FoundTicket, findTicket, noteReuse, useTicket } from './repository.ts'
import type { ClaimedCredentials, ClaimInput, ClaimTicket } from './schemas.ts'
import { digestOfTicket, isWellFormedTicket } from './ticket.ts'

export interface ClaimOptions extends RegistrationOptions {
  tables: Pick<Tables, 'ofSite'>
  /** Of background work, so that claims hold up neither tokens nor administrators. */
  background: Tables['ofAllSites']
  announcer: Announcer
  gate: Semaphore
  /** URL of the token endpoint. */
  tokenEndpoint: string
}

/** Makes a ticket. The credentials of the registration stay as they are until it is used. @throws Problem 404; 412 */
export function createClaim(
  site: Site,
  { now }: Pick<RegistrationOptions, 'now'>,
  target: Target,
  input: ClaimInput
): Promise<ClaimTicket> {
  return withLocked(site.db, lockOf(site, target), async (trx, registration) => {
    const at = now()
    const ticket = await openTicket(trx, target.clientId, at, input)
    const changes = { claimExpiresAt: { from: null, to: ticket.expiresAt } }
    await recordEvents(trx, registration, [{ action: 'claim.created', changes }], at, target.context)
    return ticket
  })
}

/**
 * Claims the credentials of a registration with a ticket. It is a rotation, so that an overlap, the audit and a retry work
 * as they do for an administrator's.
 *
 * @param ticket undefined when the header has none that is well-formed
 * @throws Problem 401, the same for an unknown ticket and one that has ended; 410 `claimed`, of which the Site gets a
 * notice; 409 `disabled`, `expired` or `rotation_under_way`, which keeps the ticket; 422; 503
 */
export async function claim(
  options: ClaimOptions,
  ticket: string | undefined,
  context: AuditContext,
  { idempotencyKey, signal }: CredentialRequest
): Promise<ClaimedCredentials> {
  const { background, gate, tables, tokenEndpoint, now } = options
  if (ticket === undefined || !isWellFormedTicket(ticket)) throw invalidTicket('malformed_ticket')
  const digest = digestOfTicket(ticket)
  const found = await throughGate(gate, TOO_MANY_PUBLIC_REQUESTS, () => findTicket(background, digest, new Date(now())))
  if (found === undefined) throw invalidTicket('unknown_ticket')
  const { clientId, siteId, overlapSeconds } = found
  const site = { siteId, db: tables.ofSite(siteId) }
  const target = { clientId, ifMatch: undefined, context }
  // Only the holder of the ticket opens the stored answer.
  const retryKey = idempotencyKey === undefined ? undefined : `${idempotencyKey} ${ticket}`
  const request = { idempotencyKey: retryKey, signal }
  try {
    const answer = await rotate(site, options, target, { overlapSeconds }, request, rightOf(found, digest))
    return credentialsOf(answer, tokenEndpoint)
  } catch (error) {
    if (!(error instanceof Problem)) throw error
    if (error.code === 'claimed') await announceReuse(site, options, clientId, digest, context)
    // The registration was deleted meanwhile, and the ticket with it.
    throw error.code === 'not_found' ? invalidTicket('unknown_ticket') : error
  }
}

function rightOf({ usedAt }: FoundTicket, digest: Buffer): RotationRight {
  return {
    check: (registration, at) => {
      if (usedAt !== null) throw claimed()
      requireUsable(registration, at)
    },
    use: async (trx, _registration, at) => {
      if (await useTicket(trx, digest, new Date(at))) return
      const found = await findTicket(trx, digest, new Date(at))
      throw found === undefined ? invalidTicket('unknown_ticket') : claimed()
    }
  }
}

function requireUsable({ enabled, expires_at: expiresAt }: Registration, now: number): void {
  if (!enabled) throw notUsableNow('disabled')
  if (expiresAt.getTime() <= now) throw notUsableNow('expired')
}

function credentialsOf({ body }: CredentialAnswer, tokenEndpoint: string): ClaimedCredentials {
  const { clientId, clientSecret, scopes, audiences, expiresAt } = body
  if (clientSecret === undefined) throw new Error('a claim made no secret')
  return { clientId, clientSecret, tokenEndpoint, scopes, audiences, expiresAt }
}

/** Sends a notice when a used ticket is presented for the first time: somebody else has it. */
async function announceReuse(
  { siteId, db }: Site,
  { announcer, now }: ClaimOptions,
  clientId: string,
  digest: Buffer,
  { source }: AuditContext
): Promise<void> {
  const isAnnounced = await db.transaction().execute(async trx => {
    const registration = await lockRegistration(trx, siteId, clientId)
    const at = now()
    if (registration === undefined || !(await noteReuse(trx, digest, new Date(at)))) return false
    await announcer.record(trx, registration, { type: 'claim_reused', at, details: { source } })
    return true
  })
  if (isAnnounced) announcer.deliver()
}
