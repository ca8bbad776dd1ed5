/**
 * Gives work so many milliseconds. The signal that it gets is aborted when they are over, or when `outer` is.
 *
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
