import type { FastifyReply } from 'fastify'

/** Returns a signal that aborts when the caller closes its connection before the answer has been sent. */
export function hangUpSignal({ raw }: FastifyReply): AbortSignal {
  const controller = new AbortController()
  raw.once('close', () => {
    if (!raw.writableFinished) controller.abort()
  })
  return controller.signal
}
