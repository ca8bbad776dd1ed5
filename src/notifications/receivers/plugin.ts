import type { FastifyInstance } from 'fastify'
import { repeat } from '../../concurrency/repeat.ts'
import { HOUR_MS, SECOND_MS } from '../../time.ts'
import { type ReencryptOptions, reencryptSigningSecrets } from './reencrypt.ts'

/** Instances that still have another KEY_ENCRYPTION_KEY may encrypt secrets their way again. They should not do it often. */
const INTERVAL_MS = HOUR_MS
const RETRY_MS = 15 * SECOND_MS

/** Re-encrypts signing secrets while KEY_ENCRYPTION_KEY is being changed: when the app listens, and every hour. */
export async function signingSecretReencryption(
  app: FastifyInstance,
  { intervalMs = INTERVAL_MS, ...options }: ReencryptOptions & { intervalMs?: number }
): Promise<void> {
  const job = repeat({
    name: 'signing secret re-encryption',
    work: async () => {
      const reencrypted = await reencryptSigningSecrets(options)
      if (reencrypted > 0) app.log.info({ reencrypted }, 'signing secrets of receivers re-encrypted')
    },
    everyMs: intervalMs,
    firstAfterMs: 0,
    retryAfterMs: Math.min(RETRY_MS, intervalMs),
    log: app.log
  })
  app.addHook('onListen', async () => job.start())
  app.addHook('onClose', () => job.stop())
}
