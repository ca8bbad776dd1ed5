import type { Transaction } from 'kysely'
import type { AuditContext } from '../../admin-api/audit-context.ts'
import { throughGate } from '../../admin-api/gate.ts'
import type { Semaphore } from '../../concurrency/semaphore.ts'
import type { MacKeys } from '../../credentials/mac-keys.ts'
import type { Database } from '../../database/schema.ts'
import type { Tables } from '../../database/site-scoped-pool.ts'
import type { Announcer } from '../announcement.ts'
import { recordEvents } from '../changes.ts'
import { makeUnknownSecret } from '../client-secret.ts'
import { previousCredentialOf } from '../credentials.ts'
import { leakEvent } from '../history.ts'
import { columnsOfCredential, type NewCredentialOptions } from '../new-credential.ts'
import { TOO_MANY_PUBLIC_REQUESTS } from '../public-requests.ts'
import { lockRegistration, type Registration, rereadRegistration, updateRegistration } from '../repository.ts'
import { rotateCredential } from '../rotation/repository.ts'
import { atOnce } from '../rotation/service.ts'
import { findSecrets, type SecretMatch } from './find.ts'
import { disableLeaked } from './repository.ts'
import type { ReportedSecret, SecretReportResult } from './schemas.ts'

export interface SecretReportOptions extends Pick<NewCredentialOptions, 'secretPrefix'> {
  tables: Pick<Tables, 'ofSite'>
  /** Of background work, so that reports hold up neither tokens nor administrators. */
  background: Tables['ofAllSites']
  macKeys: Pick<MacKeys, 'create' | 'digests' | 'present'>
  announcer: Announcer
  gate: Semaphore
  /** Called when a change is committed, with the new version. */
  onChanged: (clientId: string, version: number) => void
  /** Milliseconds since the epoch. */
  now: () => number
}

/**
 * Stops secrets that have leaked. The current secret of a registration is destroyed and the registration disabled, also
 * one that is disabled or expired already: it would come back with a renewal. A previous secret is retired. The other
 * credential of the registration stays as it is.
 *
 * The results never say whose a secret is.
 *
 * @throws Problem 503 when too many reports wait
 */
export async function stopLeakedSecrets(
  options: SecretReportOptions,
  reported: readonly ReportedSecret[],
  context: AuditContext
): Promise<SecretReportResult[]> {
  const { background, macKeys, gate, announcer } = options
  const secrets = reported.map(({ secret }) => secret)
  return throughGate(gate, TOO_MANY_PUBLIC_REQUESTS, async () => {
    const matches = await findSecrets(background, macKeys, secrets)
    const results = secrets.map((): SecretReportResult => 'not_live')
    for (const [index, match] of matches.entries()) {
      const report = reported[index]
      if (match === undefined || report === undefined) continue
      if (await stop(options, match, report, context)) results[index] = 'stopped'
    }
    if (results.includes('stopped')) announcer.deliver()
    return results
  })
}

/** Returns whether the secret was still to be stopped. */
async function stop(
  options: SecretReportOptions,
  match: SecretMatch,
  report: ReportedSecret,
  context: AuditContext
): Promise<boolean> {
  const { tables, announcer, onChanged, now } = options
  const { client_id: clientId, site_id: siteId } = match
  const version = await tables
    .ofSite(siteId)
    .transaction()
    .execute(async trx => {
      const before = await lockRegistration(trx, siteId, clientId)
      const at = now()
      const credential = before === undefined ? undefined : stoppable(before, match, at)
      if (before === undefined || credential === undefined) return undefined
      if (credential === 'previous') await updateRegistration(trx, clientId, { previous_secret_expires_at: atOnce(at) })
      else await replaceLeaked(trx, options, before, at)
      const after = await rereadRegistration(trx, before)
      await announcer.record(trx, after, { type: 'secret_leaked', at, details: detailsOf(credential, report, context) })
      const reported = { url: report.url, reporter: report.source }
      await recordEvents(trx, after, [leakEvent(before, after, credential, reported)], at, context)
      return after.version
    })
  if (version !== undefined) onChanged(clientId, version)
  return version !== undefined
}

/**
 * Replaces a leaked secret by one that nobody knows, and disables the registration. Enabling it does not bring the leaked
 * secret back. A previous credential that is still accepted has not leaked, so it stays. Without one, the leaked secret is
 * the previous one now and refused, so that its use is noticed.
 */
async function replaceLeaked(
  trx: Transaction<Database>,
  options: SecretReportOptions,
  before: Registration,
  at: number
): Promise<void> {
  const { client_id: clientId } = before
  const unknown = columnsOfCredential(options, clientId, makeUnknownSecret(options.secretPrefix))
  const columns = { ...unknown, secret_created_at: new Date(at) }
  const hasPrevious = previousCredentialOf(before, at) !== undefined
  if (hasPrevious) await updateRegistration(trx, clientId, columns)
  else await rotateCredential(trx, clientId, columns, atOnce(at))
  await disableLeaked(trx, clientId)
}

/** Returns which credential of the locked row the secret is now, if it is one that a report stops. */
function stoppable(row: Registration, { created_at: createdAt }: SecretMatch, now: number) {
  if (!row.unclaimed && row.secret_created_at.getTime() === createdAt.getTime()) return 'current'
  const previous = previousCredentialOf(row, now)
  return previous?.createdAt.getTime() === createdAt.getTime() ? 'previous' : undefined
}

function detailsOf(credential: string, { url, source }: ReportedSecret, context: AuditContext) {
  return { credential, url: url ?? null, reporter: source ?? null, source: context.source }
}
