import type { FastifyInstance } from 'fastify'
import type { Target } from './channels/sender.ts'
import { Outbox, type OutboxNeeds } from './outbox/outbox.ts'
import { SERVICE_RECEIVER_IDS, type ServiceReceiver } from './repository.ts'
import { Sweep } from './sweep.ts'

export interface NoticesNeeds extends Omit<OutboxNeeds, 'serviceTargets' | 'onOutcome' | 'onError'> {
  /** Days before expiry, the first to come first. */
  steps: readonly number[]
  /** How often due notices are looked for, seconds. */
  intervalSeconds: number
  /** The receivers of the configuration. */
  webhook: { url: string; secrets: readonly string[] } | undefined
  mailTo: readonly string[]
  /** How long notices stay, days; 0 for ever. */
  retentionDays: number
  /** Told how each try went, for counting. */
  count?: (result: 'delivered' | 'failed' | 'dead') => void
}

/** Of an interval, so that instances that started at once don't go on together. */
const JITTER = 0.2

/**
 * The expiry cadence: makes notices as they come due and delivers them, from when the app listens until it closes.
 * Without it everything else works, and nobody is told.
 *
 * @throws Error that names NOTICE_WEBHOOK_URL when it leads where grantd may not send
 */
export async function notices(app: FastifyInstance, needs: NoticesNeeds): Promise<void> {
  const fault = needs.webhook === undefined ? undefined : needs.sender.guard.urlFault(needs.webhook.url)
  if (fault !== undefined) throw new Error(`NOTICE_WEBHOOK_URL ${fault}, unless NOTICE_WEBHOOK_ALLOW lists it`)
  const serviceTargets = serviceTargetsOf(needs)
  const serviceReceivers = [...serviceTargets].map(([id, { kind }]): ServiceReceiver => ({ id, kind }))
  const sweep = new Sweep({ ...needs, serviceReceivers })
  const outbox = new Outbox({
    ...needs,
    serviceTargets,
    onOutcome: (delivery, { detail }, result) => {
      needs.count?.(result)
      const { id, notice_id: noticeId, receiver_id: receiverId, attempts } = delivery
      const fields = { deliveryId: id, noticeId, receiverId, attempts, detail }
      if (result === 'delivered') app.log.info(fields, 'notice delivered')
      else app.log.warn(fields, result === 'dead' ? 'notice not delivered: given up' : 'notice not delivered yet')
    },
    onError: error => onError(error)
  })

  let timer: NodeJS.Timeout | undefined
  let ticking: Promise<void> | undefined
  const schedule = (delayMs: number): void => {
    timer = setTimeout(() => {
      ticking = tick().then(() => schedule(needs.intervalSeconds * 1_000 * (1 - JITTER * Math.random())))
    }, delayMs)
    timer.unref()
  }
  const onError = (error: unknown): void => app.log.error({ err: error }, 'notices are late; trying again')
  // Each for itself: what can't be made does not hold up what was.
  const tick = async (): Promise<void> => {
    await sweep.run().then(made => made > 0 && app.log.info({ made }, 'notices made'), onError)
    await outbox.pump().catch(onError)
  }
  app.addHook('onListen', async () => schedule(0))
  app.addHook('onClose', async () => {
    clearTimeout(timer)
    await ticking
    clearTimeout(timer)
    await outbox.close()
  })
}

function serviceTargetsOf({ webhook, mailTo }: NoticesNeeds): Map<string, Target> {
  const targets = new Map<string, Target>()
  if (webhook !== undefined) targets.set(SERVICE_RECEIVER_IDS.webhook, { kind: 'webhook', ...webhook })
  if (mailTo.length > 0) targets.set(SERVICE_RECEIVER_IDS.mail, { kind: 'mail', addresses: mailTo })
  return targets
}
