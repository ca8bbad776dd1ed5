import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Kysely, Transaction } from 'kysely'
import type { AuditContext } from '../../admin-api/audit-context.ts'
import { requireRoom } from '../../admin-api/quota.ts'
import { invalidRequest } from '../../admin-api/validation.ts'
import { type NewEvent, recordEvent } from '../../audit/record.ts'
import type { Sealing } from '../../crypto/key-encryption.ts'
import type { Database, NoticeReceiverTable } from '../../database/schema.ts'
import { type Fault, notFound } from '../../http/problem.ts'
import { NOT_PUBLIC } from '../channels/address-guard.ts'
import { permittedAddresses, TargetRefused } from '../channels/guarded-post.ts'
import { testMessage } from '../channels/message.ts'
import { type Outcome, type SenderNeeds, sendMessage, type Target } from '../channels/sender.ts'
import { createSigningSecret } from '../channels/webhook.ts'
import { notAWebhook, tooBusy } from './errors.ts'
import { changesBetween } from './history.ts'
import {
  beginOverlap,
  countOfSite,
  deleteReceiver,
  findReceiverWithSecrets,
  insertReceiver,
  lockReceiver,
  type Receiver,
  type ReceiverChange,
  replaceSecret,
  updateReceiver
} from './repository.ts'
import { openSecrets, sealSecret } from './secrets.ts'

/** What deciding on receivers needs. */
export interface ReceiverNeeds {
  db: Kysely<Database>
  sender: SenderNeeds
  sealing: Sealing
  /** `source` of events. */
  issuer: string
  /** The steps of the cadence, days before expiry. */
  steps: readonly number[]
  maxReceiversPerSite: number
  /** Milliseconds since the epoch. */
  now: () => number
}

export interface ReceiverInput {
  kind: 'webhook' | 'mail'
  url?: string
  addresses?: string[]
  steps?: number[] | null
}

/** How long the secret before goes on signing beside a new one. */
const OVERLAP_MS = 24 * 3_600_000

/**
 * Makes a receiver. A webhook's signing secret exists in the answer only; what stays is sealed.
 *
 * @throws Problem 400 with every fault; 409 `quota_exceeded`
 */
export async function createReceiver(
  needs: ReceiverNeeds,
  siteId: string,
  { kind, url, addresses, steps = null }: ReceiverInput,
  context: AuditContext
): Promise<{ receiver: Receiver; signingSecret: string | null }> {
  refuse([
    ...memberFaults(kind, { url, addresses }, true),
    ...(kind === 'mail' && needs.sender.mail === undefined ? [NO_MAIL] : []),
    ...stepFaults(needs, steps),
    ...(await urlFaults(needs, url))
  ])
  const id = randomUUID()
  const signingSecret = kind === 'webhook' ? createSigningSecret() : null
  const row: NoticeReceiverTable = {
    id,
    site_id: siteId,
    kind,
    url: url ?? null,
    addresses: addresses ?? null,
    steps,
    sealed_secret: signingSecret === null ? null : await sealSecret(needs.sealing, id, signingSecret),
    sealed_previous_secret: null,
    previous_secret_until: null,
    created_at: new Date(needs.now())
  }
  await needs.db.transaction().execute(async trx => {
    await requireRoom(trx, siteId, {
      of: 'notice receivers',
      maxPerSite: needs.maxReceiversPerSite,
      count: countOfSite
    })
    await insertReceiver(trx, row)
    await record(trx, row, 'receiver.created', changesBetween(undefined, row), row.created_at.getTime(), context)
  })
  return { receiver: row, signingSecret }
}

/** @throws Problem 400 with every fault; 404 */
export async function changeReceiver(
  needs: ReceiverNeeds,
  siteId: string,
  id: string,
  input: Omit<ReceiverInput, 'kind'>,
  context: AuditContext
): Promise<Receiver> {
  // Resolving a name takes a while: not while the row is locked.
  const faults = await urlFaults(needs, input.url)
  return needs.db.transaction().execute(async trx => {
    const receiver = await lockReceiver(trx, siteId, id)
    if (receiver === undefined) throw notFound()
    refuse([...memberFaults(receiver.kind, input, false), ...stepFaults(needs, input.steps ?? null), ...faults])
    const change: ReceiverChange = { ...input }
    const changed = { ...receiver, ...change }
    const changes = changesBetween(receiver, changed)
    if (Object.keys(changes).length === 0) return receiver
    await updateReceiver(trx, id, change)
    await record(trx, changed, 'receiver.changed', changes, needs.now(), context)
    return changed
  })
}

/** What was not yet delivered to it is cancelled. @throws Problem 404 */
export async function removeReceiver(
  { db, now }: ReceiverNeeds,
  siteId: string,
  id: string,
  context: AuditContext
): Promise<void> {
  await db.transaction().execute(async trx => {
    const receiver = await lockReceiver(trx, siteId, id)
    if (receiver === undefined) throw notFound()
    await deleteReceiver(trx, id)
    await record(trx, receiver, 'receiver.deleted', changesBetween(receiver, undefined), now(), context)
  })
}

/**
 * Gives a webhook a new signing secret. For a day both sign, so that its owner can change over. Once more within that day
 * makes another in place of the new one: whoever still verifies with the one before is not cut off sooner.
 *
 * @throws Problem 404; 409 for mail
 */
export async function rotateSecret(
  needs: ReceiverNeeds,
  siteId: string,
  id: string,
  context: AuditContext
): Promise<{ receiver: Receiver; signingSecret: string }> {
  const signingSecret = createSigningSecret()
  const sealed = await sealSecret(needs.sealing, id, signingSecret)
  const at = needs.now()
  const receiver = await needs.db.transaction().execute(async trx => {
    const found = await lockReceiver(trx, siteId, id)
    if (found === undefined) throw notFound()
    if (found.kind !== 'webhook') throw notAWebhook()
    const from = found.previous_secret_until
    const isUnderWay = from !== null && from.getTime() > at
    const previousUntil = isUnderWay ? from : new Date(at + OVERLAP_MS)
    if (isUnderWay) await replaceSecret(trx, id, sealed)
    else await beginOverlap(trx, id, sealed, previousUntil)
    const changes = { previousSecretUntil: { from: from?.toISOString() ?? null, to: previousUntil.toISOString() } }
    await record(trx, found, 'receiver.rotated', changes, at, context)
    return { ...found, previous_secret_until: previousUntil }
  })
  return { receiver, signingSecret }
}

/** More tests at once than any honest caller makes. */
const MAX_TESTS_AT_ONCE = 8
let testsUnderWay = 0

/**
 * Sends a test event now, the way notices go.
 *
 * @throws Problem 404; 503 when too many tests are under way
 */
export async function testReceiver(
  needs: ReceiverNeeds,
  siteId: string,
  id: string
): Promise<Outcome & { eventId: string }> {
  const row = await findReceiverWithSecrets(needs.db, siteId, id)
  if (row === undefined) throw notFound()
  if (testsUnderWay >= MAX_TESTS_AT_ONCE) throw tooBusy()
  testsUnderWay++
  try {
    const eventId = randomUUID()
    const message = testMessage(eventId, needs.issuer, siteId, id, needs.now())
    const target = await targetOf(needs, row)
    return { ...(await sendMessage(needs.sender, target, message, new AbortController().signal)), eventId }
  } finally {
    testsUnderWay--
  }
}

/** Where this receiver is, with its secrets opened. */
export async function targetOf(
  { sealing, now }: Pick<ReceiverNeeds, 'sealing' | 'now'>,
  row: Pick<NoticeReceiverTable, 'url' | 'addresses'> & Parameters<typeof openSecrets>[1]
): Promise<Target> {
  if (row.url === null) return { kind: 'mail', addresses: row.addresses ?? [] }
  return { kind: 'webhook', url: row.url, secrets: await openSecrets(sealing, row, now()) }
}

/** In the transaction of the change, as its last step. */
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

const NO_MAIL: Fault = { pointer: '/kind', code: 'mail_not_configured', detail: 'no mail server is configured here' }

/** Each kind has its own member, and not the other's. */
function memberFaults(
  kind: ReceiverInput['kind'],
  given: { url?: unknown; addresses?: unknown },
  isNew: boolean
): Fault[] {
  const [own, other] = kind === 'webhook' ? (['url', 'addresses'] as const) : (['addresses', 'url'] as const)
  const faults: Fault[] = []
  if (isNew && given[own] === undefined) {
    faults.push({ pointer: `/${own}`, code: 'required', detail: `is required for ${kind}` })
  }
  if (given[other] !== undefined) {
    faults.push({ pointer: `/${other}`, code: 'unknown_member', detail: `is not a member of ${kind}` })
  }
  return faults
}

function stepFaults({ steps }: ReceiverNeeds, wanted: readonly number[] | null): Fault[] {
  return (wanted ?? []).flatMap((step, index) =>
    steps.includes(step)
      ? []
      : [{ pointer: `/steps/${index}`, code: 'invalid_value', detail: `must be one of ${steps.join(', ')}` }]
  )
}

/** A name that nobody knows yet, or now, may be saved: what it leads to is judged again with each request. */
const RESOLVE_WAIT_MS = 2_000

async function urlFaults({ sender }: ReceiverNeeds, url: string | undefined): Promise<Fault[]> {
  if (url === undefined) return []
  const detail = sender.guard.urlFault(url)
  if (detail !== undefined) return [{ pointer: '/url', code: 'invalid_value', detail }]
  const refusal = permittedAddresses(sender, new URL(url)).then(
    () => undefined,
    (error: unknown) => (error instanceof TargetRefused ? NOT_PUBLIC : undefined)
  )
  const refused = await Promise.race([refusal, sleep(RESOLVE_WAIT_MS, undefined, { ref: false })])
  return refused === undefined ? [] : [{ pointer: '/url', code: 'invalid_value', detail: refused }]
}

function refuse(faults: readonly Fault[]): void {
  if (faults.length > 0) throw invalidRequest(faults)
}
