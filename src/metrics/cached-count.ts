import { within } from '../concurrency/timeout.ts'
import type { Registry } from './registry.ts'

/** Counting reads an index entry for each row, so a count is kept for this long. */
const MAX_AGE_MS = 15_000
/** The longest that a scrape waits for a new count. After that it shows the latest one. */
const MAX_WAIT_MS = 500

/**
 * Refreshes a count before a scrape when it is old. A count that fails is left out rather than fail the scrape.
 *
 * @returns a function that gives the latest count, undefined before there is one
 */
export function cachedCount<Count>(registry: Registry, count: () => Promise<Count>): () => Count | undefined {
  let latest: Count | undefined
  let counting: Promise<void> | undefined
  let countedAt = Number.NEGATIVE_INFINITY
  const refresh = async (): Promise<void> => {
    try {
      latest = await count()
      countedAt = performance.now()
    } catch {
      // Other metrics show that the database is unavailable.
    } finally {
      counting = undefined
    }
  }
  registry.beforeReading(async () => {
    if (performance.now() - countedAt < MAX_AGE_MS) return
    counting ??= refresh()
    await within(MAX_WAIT_MS, counting)
  })
  return () => latest
}
