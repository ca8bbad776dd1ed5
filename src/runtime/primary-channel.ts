import cluster from 'node:cluster'
import type { Family } from '../metrics/registry.ts'

/** Sent by the primary: end with the instance, make room for a successor that already serves, or report the metrics. */
export type Order = 'close' | 'yield' | 'read'

/** Sent by a worker. */
export interface Report {
  /** Why it does not start. */
  fault?: string
  metrics?: Family[]
}

interface OrderHandlers {
  readMetrics: () => Promise<Family[]>
  close: (isReplaced: boolean) => void
}

/** In a worker: follows the orders of the primary. node:cluster ends a worker that loses its primary. */
export function handleOrders({ readMetrics, close }: OrderHandlers): void {
  process.on('message', async (order: Order) => {
    if (order === 'read') await report({ metrics: await readMetrics() })
    else close(order === 'yield')
  })
  // The primary has gone, so nothing that this worker reports arrives.
  cluster.worker?.on('error', () => process.exit(1))
}

/** In a worker: sends a report to the primary. Resolves when it is on its way, or when the primary has gone. */
export async function report(content: Report): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  if (process.connected) process.send?.(content, undefined, undefined, () => resolve())
  else resolve()
  await promise
}
