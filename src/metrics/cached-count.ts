import { within } from '../concurrency/timeout.ts'
import type { Registry } from './registry.ts'

/** A count is kept for this long. */
const MIN_AGE_MS = 15_000
/** Counting reads an index entry for each row. A count that takes longer is kept longer, so that it costs 1 % at most. */
const AGE_PER_DURATION = 100
/** The longest that a scrape waits for a new count. After that it shows the latest one. */
const MAX_WAIT_MS = 500

/**
 * Refreshes a count before a scrape when it is old. A count that fails is left out rather than fail the scrape.
 *
 * @param minAgeMs milliseconds that a count is kept at least
 * @returns a function that gives the latest count, undefined before there is one
 */
export function cachedCount<Count>(
  registry: Registry,
  count: () => Promise<Count>,
  minAgeMs = MIN_AGE_MS
): () => Count | undefined {
  let latest: Count | undefined
  let counting: Promise<void> | undefined
  let dueAt = Number.NEGATIVE_INFINITY
  const refresh = async (): Promise<void> => {
    const startedAt = performance.now()
    try {
      latest = await count()
    } catch {
      // Other metrics show that the database is unavailable.
    } finally {
      const endedAt = performance.now()
      dueAt = endedAt + Math.max(minAgeMs, AGE_PER_DURATION * (endedAt - startedAt))
      counting = undefined
    }
  }
  registry.beforeReading(async () => {
    if (performance.now() < dueAt) return
    counting ??= refresh()
    await within(MAX_WAIT_MS, counting)
  })
  return () => latest
}
