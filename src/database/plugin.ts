import type { FastifyInstance } from 'fastify'
import { repeat } from '../concurrency/repeat.ts'
import { SECOND_MS } from '../time.ts'
import type { DatabaseClock } from './clock.ts'

/** After a failover to a machine with another clock, estimates are wrong for at most this long. */
const REFRESH_INTERVAL_MS = 15 * SECOND_MS

/** Keeps the estimate of the time of the database right, in the background. The first request finds one. */
export async function databaseTime(app: FastifyInstance, { clock }: { clock: DatabaseClock }): Promise<void> {
  const refresh = repeat({
    name: 'time of the database',
    everyMs: REFRESH_INTERVAL_MS,
    log: app.log,
    work: () => clock.refresh()
  })
  app.addHook('onReady', async () => {
    // A database that is away now is asked again by the next round.
    await Promise.allSettled([clock.refresh()])
    refresh.start()
  })
  app.addHook('onClose', () => refresh.stop())
}
