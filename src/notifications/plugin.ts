import type { FastifyInstance } from 'fastify'
import { repeat } from '../concurrency/repeat.ts'
import { SECOND_MS } from '../time.ts'
import type { Outbox } from './outbox/outbox.ts'
import { signingSecretReencryption } from './receivers/plugin.ts'
import type { ReencryptOptions } from './receivers/reencrypt.ts'
import { Sweep, type SweepOptions } from './sweep/sweep.ts'

export interface NoticesOptions extends SweepOptions {
  /** Pause between two sweeps, seconds. */
  intervalSeconds: number
  outbox: Outbox
}

/** Instances that start together drift apart by this share of the interval. */
const JITTER = 0.2

/** Registers the background jobs of notifications. Without them everything else works, and no notice is sent. */
export async function notificationJobs(
  app: FastifyInstance,
  options: NoticesOptions & ReencryptOptions
): Promise<void> {
  await app.register(notices, options)
  await app.register(signingSecretReencryption, { db: options.db, sealing: options.sealing })
}

/**
 * Runs the expiry cadence: creates notices when they come due and delivers them, from when the app listens until it
 * closes. Without this plugin everything else works, but no notice is sent.
 */
export async function notices(
  app: FastifyInstance,
  { intervalSeconds, outbox, ...options }: NoticesOptions
): Promise<void> {
  const sweep = new Sweep(options)
  const schedule = { everyMs: intervalSeconds * SECOND_MS, firstAfterMs: 0, jitter: JITTER, log: app.log }
  // Two jobs, because notices that cannot be created must not hold up those that were.
  const sweeps = repeat({
    ...schedule,
    name: 'notice sweep',
    work: async () => {
      const created = await sweep.run()
      if (created > 0) app.log.info({ created }, 'notices created')
      if (created > 0) await outbox.pump()
    }
  })
  const deliveries = repeat({ ...schedule, name: 'notice delivery', work: () => outbox.pump() })
  app.addHook('onListen', async () => {
    sweeps.start()
    deliveries.start()
  })
  app.addHook('onClose', async () => {
    await Promise.all([sweeps.stop(), deliveries.stop()])
    await outbox.close()
  })
}
