import { type Semaphore, SemaphoreFull, SemaphoreTimeout } from '../concurrency/semaphore.ts'
import { Problem } from '../http/problem.ts'

/** How the answer and the log name an overload. */
interface Overload {
  detail: string
  /** For the log. */
  reason: string
}

/** Runs the work of a request that anybody can send. @throws Problem 503 when too many of them wait */
export async function throughGate<T>(
  gate: Semaphore,
  { detail, reason }: Overload,
  work: () => Promise<T>
): Promise<T> {
  try {
    return await gate.run(work)
  } catch (error) {
    if (!(error instanceof SemaphoreFull || error instanceof SemaphoreTimeout)) throw error
    throw new Problem(503, 'unavailable', detail, { reason, headers: { 'retry-after': '1' } })
  }
}
