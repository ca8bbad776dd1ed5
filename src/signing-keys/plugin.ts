import type { FastifyInstance } from 'fastify'
import { repeat } from '../concurrency/repeat.ts'
import type { Registry } from '../metrics/registry.ts'
import type { RotatingKeySet } from './key-set.ts'
import { measureSigningKey } from './metrics.ts'
import { jwksRoutes } from './routes.ts'

/** Every instance that reaches the database knows a new key within this time and a bit. */
const INTERVAL_MS = 15_000

/** Publishes the signing keys, refreshes them while the app listens, and measures the one that signs. */
export async function signingKeys(
  app: FastifyInstance,
  { keySet, metrics }: { keySet: RotatingKeySet; metrics: Registry }
): Promise<void> {
  measureSigningKey(metrics, keySet)
  await app.register(jwksRoutes, { keySet })
  await app.register(signingKeyRotation, { keySet })
}

/** Refreshes the signing keys while the app listens. */
export async function signingKeyRotation(
  app: FastifyInstance,
  { keySet, intervalMs = INTERVAL_MS }: { keySet: Pick<RotatingKeySet, 'refresh' | 'activeKid'>; intervalMs?: number }
): Promise<void> {
  // Between two refreshes too: a token of an unknown key makes the key set read its keys.
  let activeKid = keySet.activeKid
  const refreshing = repeat({
    name: 'signing key refresh',
    everyMs: intervalMs * 1.2,
    jitter: 1 / 3,
    log: app.log,
    work: async () => {
      try {
        await keySet.refresh()
      } finally {
        if (keySet.activeKid !== activeKid) {
          app.log.info({ kid: keySet.activeKid, before: activeKid }, 'another signing key signs now')
          activeKid = keySet.activeKid
        }
      }
    }
  })
  app.addHook('onListen', async () => refreshing.start())
  app.addHook('onClose', () => refreshing.stop())
}
