import { randomUUID } from 'node:crypto'
import type { Kysely, Transaction } from 'kysely'
import type { Database } from '../../database/schema.ts'
import { DAY_MS } from '../../time.ts'
import type { Announcer } from '../announcement.ts'
import { recordEvents } from '../changes.ts'
import { eventsBetween } from '../history.ts'
import type { DISABLED_REASONS } from '../lifecycle.ts'
import {
  lockLastUse,
  lockRegistration,
  type Registration,
  rereadRegistration,
  updateRegistration
} from '../repository.ts'
import { dueStep, type Gap, quietSince, type UnusedPolicy } from './quiet.ts'
import {
  beginRound,
  type Candidate,
  findEndOfBatch,
  insertGap,
  listCandidates,
  listGaps,
  setUnusedNoticed
} from './repository.ts'

export interface UnusedOptions extends UnusedPolicy {
  db: Kysely<Database>
  /** Issuer of grantd, which acts here in place of an administrator. */
  issuer: string
  announcer: Announcer
  /** Called when a change is committed, with the new version. */
  onChanged: (clientId: string, version: number) => void
  /** Time of the database, milliseconds since the epoch. */
  databaseNow: () => Promise<number>
  /** Time between two rounds of all instances, milliseconds. */
  intervalMs: number
}

/** Registrations that one statement reads. All of a million in one would take longer than a statement may. */
const BATCH_SIZE = 10_000
/** A round that comes so much later than the one before, in intervals, follows a time in which grantd was away. */
const GAP_INTERVALS = 3

/** How many registrations got a notice, and how many were disabled. */
export interface UnusedRound {
  noticed: number
  disabled: number
}

/**
 * Looks for registrations that nobody uses, if no instance has done so lately. The first round after a time in which
 * grantd was away only notes that time: what was used just now may not be written yet.
 */
export async function lookForUnused(options: UnusedOptions): Promise<UnusedRound> {
  const { db, announcer, databaseNow, intervalMs, noticeDays, disableDays } = options
  const result = { noticed: 0, disabled: 0 }
  const now = await databaseNow()
  const before = await beginRound(db, new Date(now), new Date(now - intervalMs))
  if (before === false) return result
  if (before !== undefined && now - before.getTime() > GAP_INTERVALS * intervalMs) {
    await insertGap(db, before, new Date(now))
    return result
  }
  const gaps = await listGaps(db)
  const daysAgo = (days: number) => new Date(now - days * DAY_MS)
  // Never disabled: no registration is quiet for so long.
  const disablesSince = disableDays === 0 ? new Date(0) : daysAgo(disableDays)
  let after: string | undefined = ''
  while (after !== undefined) {
    const upTo: string | undefined = await findEndOfBatch(db, after, BATCH_SIZE)
    const range = { now: new Date(now), quietSince: daysAgo(noticeDays), disablesSince, after, upTo }
    for (const candidate of await listCandidates(db, range)) {
      const step = await takeStep(options, candidate, gaps, now)
      if (step === 'notice') result.noticed++
      if (step === 'disable') result.disabled++
    }
    after = upTo
  }
  if (result.noticed + result.disabled > 0) announcer.deliver()
  return result
}

/** Does what is due for a registration, while neither an administrator nor an exchange can change it. */
async function takeStep(
  options: UnusedOptions,
  { client_id: clientId, site_id: siteId }: Candidate,
  gaps: readonly Gap[],
  now: number
): Promise<ReturnType<typeof dueStep>> {
  const { step, version } = await options.db.transaction().execute(async trx => {
    const row = await lockRegistration(trx, siteId, clientId)
    if (row === undefined) return {}
    const registration = { ...row, ...(await lockLastUse(trx, clientId)) }
    const step = dueStep(registration, options, gaps, now)
    if (step === 'notice') await notice(trx, options, registration, now)
    if (step === 'disable') await disable(trx, options, registration, now)
    return { step, version: step === 'disable' ? registration.version + 1 : undefined }
  })
  if (version !== undefined) options.onChanged(clientId, version)
  return step
}

async function notice(
  trx: Transaction<Database>,
  { announcer, noticeDays, disableDays }: UnusedOptions,
  registration: Registration,
  now: number
): Promise<void> {
  const disablesAt = disableDays === 0 ? null : new Date(now + (disableDays - noticeDays) * DAY_MS).toISOString()
  await setUnusedNoticed(trx, registration.client_id, new Date(now))
  await announcer.record(trx, registration, {
    ...{ type: 'unused', at: now, details: { quietSince: instantOf(registration), disablesAt } }
  })
}

const UNUSED: (typeof DISABLED_REASONS)[number] = 'unused'

async function disable(
  trx: Transaction<Database>,
  { announcer, issuer }: UnusedOptions,
  registration: Registration,
  now: number
): Promise<void> {
  await updateRegistration(trx, registration.client_id, { enabled: false, disabled_reason: UNUSED })
  const after = await rereadRegistration(trx, registration)
  await announcer.record(trx, after, {
    ...{ type: 'unused_disabled', at: now, details: { quietSince: instantOf(registration) } }
  })
  const context = { actor: 'unused registrations', issuer, requestId: randomUUID(), source: 'grantd' }
  await recordEvents(trx, registration, eventsBetween(registration, after), now, context)
}

function instantOf(registration: Registration): string {
  return new Date(quietSince(registration)).toISOString()
}
