import type { Kysely } from 'kysely'
import type { CursorKeys } from '../admin-api/cursor.ts'
import type { Sealing } from '../crypto/key-encryption.ts'
import type { Database } from '../database/schema.ts'
import type { Registry } from '../metrics/registry.ts'
import { AddressGuard, type AllowedTargets } from './channels/address-guard.ts'
import type { MailOptions } from './channels/channel.ts'
import { WEBHOOK_TIMEOUT_MS } from './channels/guarded-post.ts'
import { createResolve, type Resolve } from './channels/resolve.ts'
import { measureDeliveries } from './metrics.ts'
import { Outbox, type ServiceReceiver } from './outbox/outbox.ts'
import { type DeliveryLog, reportResults } from './outbox/report.ts'
import { TestRuns } from './receivers/test-runs.ts'

interface NotificationSettings {
  /** Days before expiry, in the order in which they come due. */
  steps: readonly number[]
  intervalSeconds: number
  /** 0 keeps notices forever. */
  retentionDays: number
  maxReceiversPerSite: number
  /** Targets that webhooks may reach although they are not public. */
  allowed: AllowedTargets
  /** The webhook that the configuration names. */
  webhook: { url: string; secrets: readonly string[] } | undefined
  mail: MailOptions | undefined
  /** Mail addresses that the configuration names, with or without a display name. */
  mailTo: readonly string[]
  issuer: string
  sealing: Sealing
  cursorKeys: CursorKeys
  db: Kysely<Database>
  /** Time of the database, milliseconds since the epoch. */
  databaseNow: () => Promise<number>
  /** Finds the addresses of a webhook's host. By default, DNS does. */
  resolve?: Resolve | undefined
  metrics: Registry
  log: DeliveryLog
  /** Milliseconds since the epoch. */
  now: () => number
}

/**
 * Builds what the routes and the jobs of this room work with.
 *
 * @throws Error that names NOTICE_WEBHOOK_URL when its address is not allowed
 */
export function notificationOptions(settings: NotificationSettings) {
  const { allowed, resolve, mail, metrics, log, now, ...rest } = settings
  const guard = new AddressGuard(allowed)
  const serviceReceivers = serviceReceiversOf(settings, guard)
  const options = {
    ...rest,
    channels: { guard, resolve: resolve ?? createResolve(guard), timeoutMs: WEBHOOK_TIMEOUT_MS, mail },
    serviceReceivers,
    serviceKinds: [...serviceReceivers.keys()],
    testRuns: new TestRuns(),
    now
  }
  return { ...options, outbox: new Outbox({ ...options, ...reportResults(log, measureDeliveries(metrics)) }) }
}

/** Returns the receivers that the configuration names, by their kind. They get the notices of all Sites. */
function serviceReceiversOf(
  { webhook, mailTo }: NotificationSettings,
  guard: AddressGuard
): Map<string, ServiceReceiver> {
  const receivers = new Map<string, ServiceReceiver>()
  if (webhook !== undefined) {
    const fault = guard.urlFault(webhook.url)
    if (fault !== undefined) throw new Error(`NOTICE_WEBHOOK_URL ${fault}, unless NOTICE_WEBHOOK_ALLOW lists it`)
    receivers.set('webhook', { target: { url: webhook.url }, secrets: webhook.secrets })
  }
  if (mailTo.length > 0) receivers.set('mail', { target: { addresses: mailTo.map(plainAddress) }, secrets: [] })
  return receivers
}

/** Returns a mail address without its display name. */
function plainAddress(mailbox: string): string {
  return /<([^<>]+)>$/.exec(mailbox)?.[1] ?? mailbox
}
