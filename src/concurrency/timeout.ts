import { setTimeout as sleep } from 'node:timers/promises'

/** Waits at least this long by the monotonic clock. A single timer may fire early. @param ms milliseconds; 0 for no wait */
export async function waitAtLeast(ms: number): Promise<void> {
  const end = performance.now() + ms
  for (let left = ms; left > 0; left = end - performance.now()) await sleep(Math.ceil(left))
}

/**
 * Waits for work, but no longer than a limit. The work goes on when the limit is over.
 *
 * @param limitMs milliseconds
 * @returns whether the work ended in time
 * @throws what the work throws in time
 */
export async function within(limitMs: number, work: Promise<unknown>): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const timer = setTimeout(resolve, limitMs, false)
  try {
    return await Promise.race([work.then(() => true), promise])
  } finally {
    clearTimeout(timer)
  }
}

/**
 * Runs work that can be aborted, but no longer than a limit. The work's signal is aborted when the limit is over or
 * when `outer` is aborted.
 *
 * @param limitMs milliseconds
 * @throws a TimeoutError; the outer signal's reason; what the work throws
 */
export async function withinTime<T>(
  limitMs: number,
  outer: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>
): Promise<T> {
  outer.throwIfAborted()
  const cut = new AbortController()
  const cutOff = Promise.withResolvers<never>()
  cut.signal.addEventListener('abort', () => cutOff.reject(cut.signal.reason), { once: true })
  const onOuterAbort = () => cut.abort(outer.reason)
  outer.addEventListener('abort', onOuterAbort, { once: true })
  const timer = setTimeout(() => cut.abort(new DOMException('it took too long', 'TimeoutError')), limitMs)
  timer.unref()
  try {
    return await Promise.race([work(cut.signal), cutOff.promise])
  } finally {
    clearTimeout(timer)
    outer.removeEventListener('abort', onOuterAbort)
  }
}
