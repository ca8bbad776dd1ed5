import type { FastifyInstance } from 'fastify'
import type { TendedKeySet } from './key-set.ts'

/** Every instance that reaches the database knows of a new key within this, and a bit. */
const INTERVAL_MS = 15_000

/** Tends the signing keys while the app listens. Trouble is logged once, and never ends anything. */
export async function signingKeyRotation(
  app: FastifyInstance,
  { keySet, intervalMs = INTERVAL_MS }: { keySet: Pick<TendedKeySet, 'tend' | 'activeKid'>; intervalMs?: number }
): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  let tending = Promise.resolve()
  let trouble: string | undefined
  let isClosed = false

  const tend = async (): Promise<void> => {
    const before = keySet.activeKid
    try {
      await keySet.tend()
      if (trouble !== undefined) app.log.info('the signing keys are tended again')
      trouble = undefined
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error)
      if (message !== trouble) app.log.error({ err: error }, 'the signing keys could not be tended; trying again')
      trouble = message
    }
    if (keySet.activeKid !== before) app.log.info({ kid: keySet.activeKid, before }, 'another signing key signs now')
    schedule()
  }
  const schedule = (): void => {
    // Not all instances at once.
    const delay = intervalMs * (0.8 + 0.4 * Math.random())
    if (!isClosed) timer = setTimeout(() => (tending = tend()), delay).unref()
  }

  app.addHook('onListen', async () => schedule())
  app.addHook('onClose', async () => {
    isClosed = true
    clearTimeout(timer)
    await tending
  })
}
