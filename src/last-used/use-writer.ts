import { Batcher } from '../concurrency/batcher.ts'
import type { Uses } from './repository.ts'
import { mergeUses, type Use } from './use.ts'

interface UseWriterOptions {
  write: (uses: Uses) => Promise<void>
  /** Resolves when a write that failed is to be retried. */
  pause: () => Promise<void>
  /** Called after each write that failed. */
  onError: (error: unknown) => void
  /** Called after each write that succeeded. */
  onWritten: () => void
}

/**
 * Writes uses one batch at a time, with one entry for each client. A batch that fails is retried until it is written,
 * so that no use is lost; meanwhile the next one gathers.
 */
export function createUseWriter({ write, pause, onError, onWritten }: UseWriterOptions): Batcher<Use, void> {
  const writeUntilDone = async (uses: Uses): Promise<void> => {
    for (;;) {
      try {
        await write(uses)
        return onWritten()
      } catch (error) {
        onError(error)
      }
      await pause()
    }
  }
  return new Batcher<Use, void>({
    maxConcurrent: 1,
    merge: mergeUses,
    process: async uses => {
      await writeUntilDone(uses)
      return () => {}
    }
  })
}
