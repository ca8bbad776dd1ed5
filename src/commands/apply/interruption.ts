import { SECOND_MS } from '../../time.ts'

const GRACE_MS = 8 * SECOND_MS

/**
 * Returns a signal that SIGINT and SIGTERM abort. The request under way may be answered with the only copy of a secret, so
 * the process goes on until its answer has come, or for 8 seconds.
 *
 * @param exitCode of a process whose request got no answer in this time
 */
export function interruptionOf(exitCode: number): AbortSignal {
  const controller = new AbortController()
  const interrupt = () => {
    // A terminal sends SIGINT to npm and to this process, and npm may pass it on. The second one means no more than the first.
    if (controller.signal.aborted) return
    controller.abort(new Error('interrupted. What was printed before is done'))
    setTimeout(() => {
      process.stderr.write(`interrupted, and a request got no answer. ${MAY_BE_LOST}\n`)
      process.exit(exitCode)
    }, GRACE_MS).unref()
  }
  process.on('SIGINT', interrupt)
  process.on('SIGTERM', interrupt)
  return controller.signal
}

const MAY_BE_LOST = 'When the next registration of the file exists now with a Client secret, rotate the secret'
