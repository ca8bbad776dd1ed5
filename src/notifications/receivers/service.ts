import { randomUUID } from 'node:crypto'
import type { Transaction } from 'kysely'
import type { AuditContext } from '../../admin-api/audit-context.ts'
import { instantOrNull } from '../../admin-api/instant.ts'
import { withLocked } from '../../admin-api/locked.ts'
import { requireRoom } from '../../admin-api/quota.ts'
import type { Site } from '../../admin-api/site.ts'
import { type NewEvent, recordEvent } from '../../audit/record.ts'
import type { Sealing } from '../../crypto/key-encryption.ts'
import type { Database, NoticeReceiverTable } from '../../database/schema.ts'
import { notFound } from '../../http/problem.ts'
import { DAY_MS } from '../../time.ts'
import { type ChannelOptions, failed, type Outcome } from '../channels/channel.ts'
import { channelOf, sendMessage } from '../channels/channels.ts'
import { testMessage } from '../channels/message.ts'
import { createSigningSecret } from '../channels/standard-webhooks.ts'
import { noSigningSecret } from './errors.ts'
import { changesBetween } from './history.ts'
import {
  beginOverlap,
  countOfSite,
  deleteReceiver,
  findReceiverWithSecrets,
  insertReceiver,
  lockReceiver,
  type Receiver,
  replaceSecret,
  updateReceiver
} from './repository.ts'
import type { NewReceiver, ReceiverPatch } from './schemas.ts'
import {
  decryptSigningSecrets,
  encryptSigningSecret,
  SIGNING_SECRET_LOST,
  SigningSecretLost
} from './signing-secrets.ts'
import type { TestRuns } from './test-runs.ts'
import { findChangeFaults, findCreateFaults, refuseFaults, targetFaults, targetOf } from './validation.ts'

export interface ReceiverOptions {
  channels: ChannelOptions
  sealing: Sealing
  testRuns: TestRuns
  /** `source` of events. */
  issuer: string
  /** Steps of the cadence, in days before expiry. */
  steps: readonly number[]
  maxReceiversPerSite: number
  /** Milliseconds since the epoch. */
  now: () => number
  /** Time of the database, milliseconds since the epoch. An instance's own clock may be wrong. */
  databaseNow: () => Promise<number>
}

/** How long a replaced secret still signs beside the new one. */
const OVERLAP_MS = DAY_MS

/**
 * Creates a receiver. Its signing secret, if its channel signs, is in the result only; the database has it encrypted.
 *
 * @throws Problem 400 with every fault; 409 `quota_exceeded`
 */
export async function createReceiver(
  { siteId, db }: Site,
  options: ReceiverOptions,
  input: NewReceiver,
  context: AuditContext
): Promise<{ receiver: Receiver; signingSecret: string | null }> {
  refuseFaults(await findCreateFaults(options, input))
  const id = randomUUID()
  const signingSecret = channelOf(input.kind).hasSigningSecret ? createSigningSecret() : null
  const row: NoticeReceiverTable = {
    id,
    site_id: siteId,
    kind: input.kind,
    target: targetOf(input),
    steps: input.steps ?? null,
    secret_jwe: signingSecret === null ? null : await encryptSigningSecret(options.sealing, id, signingSecret),
    previous_secret_jwe: null,
    previous_secret_expires_at: null,
    created_at: new Date(options.now())
  }
  await db.transaction().execute(async trx => {
    await requireRoom(trx, siteId, {
      of: 'notice receivers',
      maxPerSite: options.maxReceiversPerSite,
      count: countOfSite
    })
    await insertReceiver(trx, row)
    await record(trx, row, 'receiver.created', changesBetween(undefined, row), row.created_at.getTime(), context)
  })
  return { receiver: row, signingSecret }
}

/** Changes a receiver. @throws Problem 400 with every fault; 404 */
export async function changeReceiver(
  { siteId, db }: Site,
  options: ReceiverOptions,
  id: string,
  input: ReceiverPatch,
  context: AuditContext
): Promise<Receiver> {
  // Resolving a host takes a while, so it is done before the row is locked.
  const faults = await targetFaults(options, input)
  return withLocked(db, { lock: trx => lockReceiver(trx, siteId, id) }, async (trx, receiver) => {
    refuseFaults([...findChangeFaults(options, receiver.kind, input), ...faults])
    const changed = {
      ...receiver,
      target: { ...receiver.target, ...targetOf(input) },
      steps: input.steps === undefined ? receiver.steps : input.steps
    }
    const changes = changesBetween(receiver, changed)
    if (Object.keys(changes).length === 0) return receiver
    await updateReceiver(trx, id, { target: changed.target, steps: changed.steps })
    await record(trx, changed, 'receiver.changed', changes, options.now(), context)
    return changed
  })
}

/** Deletes a receiver. Its pending deliveries are cancelled. @throws Problem 404 */
export async function removeReceiver(
  { siteId, db }: Site,
  { now }: ReceiverOptions,
  id: string,
  context: AuditContext
): Promise<void> {
  await withLocked(db, { lock: trx => lockReceiver(trx, siteId, id) }, async (trx, receiver) => {
    await deleteReceiver(trx, id)
    await record(trx, receiver, 'receiver.deleted', changesBetween(receiver, undefined), now(), context)
  })
}

/**
 * Gives a receiver a new signing secret. For a day the previous one signs too. Another rotation within that day replaces
 * the new secret and keeps the previous one, so that a receiver that still verifies with it is not cut off early.
 *
 * @throws Problem 404; 409 when its channel does not sign
 */
export async function rotateSigningSecret(
  { siteId, db }: Site,
  options: ReceiverOptions,
  id: string,
  context: AuditContext
): Promise<{ receiver: Receiver; signingSecret: string }> {
  const signingSecret = createSigningSecret()
  const jwe = await encryptSigningSecret(options.sealing, id, signingSecret)
  const at = await options.databaseNow()
  const receiver = await withLocked(db, { lock: trx => lockReceiver(trx, siteId, id) }, async (trx, found) => {
    if (!channelOf(found.kind).hasSigningSecret) throw noSigningSecret(found.kind)
    const from = found.previous_secret_expires_at
    const isUnderWay = from !== null && from.getTime() > at
    const previousExpiresAt = isUnderWay ? from : new Date(at + OVERLAP_MS)
    if (isUnderWay) await replaceSecret(trx, id, jwe)
    else await beginOverlap(trx, id, jwe, previousExpiresAt)
    const changes = {
      previousSecretExpiresAt: { from: instantOrNull(from), to: previousExpiresAt.toISOString() }
    }
    await record(trx, found, 'receiver.secret_rotated', changes, at, context)
    return { ...found, previous_secret_expires_at: previousExpiresAt }
  })
  return { receiver, signingSecret }
}

/**
 * Sends a test event now, in the same way as a notice.
 *
 * @throws Problem 404; 503 when too many tests of this Site are running
 */
export async function testReceiver(
  { siteId, db }: Site,
  options: ReceiverOptions,
  id: string
): Promise<Outcome & { eventId: string }> {
  const row = await findReceiverWithSecrets(db, siteId, id)
  if (row === undefined) throw notFound()
  return options.testRuns.run(siteId, async () => {
    const eventId = randomUUID()
    const sentAt = await options.databaseNow()
    try {
      const outcome = await sendMessage(options.channels, row.kind, {
        target: row.target,
        message: testMessage(eventId, options.issuer, siteId, id, sentAt),
        secrets: await decryptSigningSecrets(options.sealing, row, sentAt),
        reached: [],
        sentAt,
        signal: new AbortController().signal
      })
      return { ...outcome, eventId }
    } catch (error) {
      if (!(error instanceof SigningSecretLost)) throw error
      return { ...failed(SIGNING_SECRET_LOST), eventId }
    }
  })
}

/** Records an audit event in the transaction of the change, as its last step. */
function record(
  trx: Transaction<Database>,
  { site_id: siteId, id: subject }: Receiver,
  action: NewEvent['action'],
  changes: NewEvent['changes'],
  at: number,
  context: AuditContext
): Promise<void> {
  return recordEvent(trx, { siteId, subject, action, changes, at, context })
}
