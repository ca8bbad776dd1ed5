import type { FastifyInstance } from 'fastify'
import { repeat } from '../concurrency/repeat.ts'
import { HOUR_MS, SECOND_MS } from '../time.ts'
import type { MacKeys } from './mac-keys.ts'

const RETRY_MS = 15 * SECOND_MS
const JITTER = 0.2

/** Keeps the MAC keys encrypted under the current KEY_ENCRYPTION_KEY: re-encrypts them every hour if need be. */
export async function macKeyRefresh(
  app: FastifyInstance,
  { macKeys, everyMs = HOUR_MS }: { macKeys: MacKeys; everyMs?: number }
): Promise<void> {
  const refresh = repeat({
    name: 'MAC key refresh',
    work: () => macKeys.refresh(),
    everyMs,
    retryAfterMs: RETRY_MS,
    jitter: JITTER,
    log: app.log
  })
  app.addHook('onListen', async () => refresh.start())
  app.addHook('onClose', () => refresh.stop())
}
