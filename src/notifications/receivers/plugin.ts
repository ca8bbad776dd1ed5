import type { FastifyInstance } from 'fastify'
import { type SealAnewNeeds, sealSecretsAnew } from './seal-anew.ts'

/** As for signing keys: instances with another KEY_ENCRYPTION_KEY may seal it their way again, no more often. */
const INTERVAL_MS = 3_600_000
const RETRY_MS = 15_000

/** Seals signing secrets anew while KEY_ENCRYPTION_KEY is being changed: when the app listens, and every hour. */
export async function sealingOfSecretsAnew(
  app: FastifyInstance,
  { intervalMs = INTERVAL_MS, ...needs }: SealAnewNeeds & { intervalMs?: number }
): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  let sealing = Promise.resolve()
  let isClosed = false
  const seal = async (): Promise<void> => {
    try {
      const sealed = await sealSecretsAnew(needs)
      if (sealed > 0) app.log.info({ sealed }, 'signing secrets of receivers were sealed anew')
      schedule(intervalMs)
    } catch (error) {
      app.log.warn({ err: error }, 'signing secrets of receivers could not be sealed anew; trying again')
      schedule(Math.min(RETRY_MS, intervalMs))
    }
  }
  const schedule = (delayMs: number): void => {
    if (!isClosed) timer = setTimeout(() => (sealing = seal()), delayMs).unref()
  }
  app.addHook('onListen', async () => schedule(0))
  app.addHook('onClose', async () => {
    isClosed = true
    clearTimeout(timer)
    await sealing
  })
}
