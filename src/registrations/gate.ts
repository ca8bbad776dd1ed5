import { type Semaphore, SemaphoreFull, SemaphoreTimeout } from '../concurrency/semaphore.ts'
import { Problem } from '../http/problem.ts'

/**
 * Limits on requests that anybody can send. Each takes a connection of background work for a moment, so that strangers hold
 * up neither tokens nor administrators.
 */
export const PUBLIC_REQUESTS = { permits: 2, maxWaiting: 100, maxWaitMs: 2_000 }

/** Runs the work of a request that anybody can send. @throws Problem 503 when too many of them wait */
export async function throughGate<T>(gate: Semaphore, work: () => Promise<T>): Promise<T> {
  try {
    return await gate.run(work)
  } catch (error) {
    if (!(error instanceof SemaphoreFull || error instanceof SemaphoreTimeout)) throw error
    throw new Problem(503, 'unavailable', 'Too many requests of this kind are being answered now. Try again.', {
      reason: 'public_requests_overloaded',
      headers: { 'retry-after': '1' }
    })
  }
}
