import type { FastifyInstance } from 'fastify'
import { repeat } from '../../concurrency/repeat.ts'
import { HOUR_MS, MINUTE_MS } from '../../time.ts'
import { lookForUnused, type UnusedOptions } from './round.ts'

/** Any instance does the round that is due. */
const POLL_INTERVAL_MS = 5 * MINUTE_MS

/** Sends notices of unused registrations, and disables them later, in the background. It does nothing by default. */
export async function unusedRegistrations(
  app: FastifyInstance,
  options: Omit<UnusedOptions, 'intervalMs'>
): Promise<void> {
  if (options.noticeDays === 0) return
  const rounds = repeat({
    name: 'unused registrations',
    everyMs: POLL_INTERVAL_MS,
    firstAfterMs: MINUTE_MS,
    jitter: 0.5,
    log: app.log,
    work: async () => {
      const round = await lookForUnused({ ...options, intervalMs: HOUR_MS })
      if (round.noticed + round.disabled > 0) app.log.info(round, 'registrations are unused')
    }
  })
  app.addHook('onReady', async () => rounds.start())
  app.addHook('onClose', () => rounds.stop())
}
