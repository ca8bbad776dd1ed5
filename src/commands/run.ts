import { DatabaseUnavailable } from '../database/errors.ts'

interface Result {
  output: string
  exitCode: number
}

/**
 * Runs a command. Prints its output and exits with 0, or with the exit code of its result.
 *
 * @param failure what is printed before the message of an error, which ends the command with `failureCode`
 */
export async function run(work: () => Promise<string | Result>, failure: string, failureCode = 1): Promise<void> {
  try {
    const result = await work()
    const { output, exitCode } = typeof result === 'string' ? { output: result, exitCode: 0 } : result
    process.stdout.write(`${output}\n`)
    process.exitCode = exitCode
  } catch (error) {
    process.stderr.write(`${failure}: ${explain(error)}\n`)
    process.exit(failureCode)
  }
}

/** Returns the message of an error, with the name of the variable that most probably caused it. */
export function explain(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  if (error instanceof DatabaseUnavailable) {
    const { cause } = error
    return `DATABASE_URL: ${error.message}: ${cause instanceof Error ? cause.message : String(cause)}`
  }
  // The login or the name of the database is wrong (SQLSTATE classes 28 and 3D).
  if ('code' in error && /^(28|3D)/.test(String(error.code))) return `DATABASE_URL: ${error.message}`
  if ('syscall' in error && (error.syscall === 'listen' || error.syscall === 'bind')) {
    return `HOST and PORT: ${error.message}`
  }
  if ('syscall' in error && 'path' in error) return `DATA_DIR: ${error.message}`
  return error.message
}
