import { type DestinationStream, type Logger, pino } from 'pino'

/** Lines are written in pieces of this size: a system call for each would cost a token a twentieth of its time. */
const BUFFER_BYTES = 8_192
/** What a pipe takes whole, also when others write to it (PIPE_BUF on Linux). */
const ATOMIC_BYTES = 4_096
/** No line waits longer. */
const FLUSH_INTERVAL_MS = 100

/**
 * Standard output, in pieces; what is left goes when the process ends, unless that is killed.
 *
 * @param isShared do other processes write there too? Then pieces are such that no line is torn by another's.
 */
export function bufferedOutput(isShared: boolean): DestinationStream {
  const pieces = isShared ? { minLength: ATOMIC_BYTES * 0.75, maxWrite: ATOMIC_BYTES } : { minLength: BUFFER_BYTES }
  const output = pino.destination({ dest: 1, sync: true, ...pieces })
  setInterval(() => output.flush(), FLUSH_INTERVAL_MS).unref()
  process.once('exit', () => output.flushSync())
  return output
}

/**
 * JSON lines. Of an error only what cannot hold input or a row of the database.
 *
 * @param base in every line
 */
export function createLog(
  level: string,
  output: DestinationStream = pino.destination(1),
  base: Record<string, unknown> | null = null
): Logger {
  return pino(
    {
      level,
      base,
      timestamp: isoTimes(),
      formatters: { level: label => ({ level: label }) },
      serializers: { err: describeError }
    },
    output
  )
}

/** As pino's own, made once for the lines of a millisecond. */
function isoTimes(): () => string {
  let madeAt = 0
  let member = ''
  return () => {
    const now = Date.now()
    if (now !== madeAt) member = `,"time":"${new Date(now).toISOString()}"`
    madeAt = now
    return member
  }
}

interface ErrorFields {
  type: string
  message: string
  code?: string
  stack?: string
  cause?: ErrorFields
}

function describeError(error: unknown): ErrorFields {
  if (!(error instanceof Error)) return { type: typeof error, message: 'not an Error' }
  return {
    type: error.name,
    message: error.message,
    ...('code' in error && typeof error.code === 'string' && { code: error.code }),
    ...(error.stack !== undefined && { stack: error.stack }),
    ...(error.cause !== undefined && { cause: describeError(error.cause) })
  }
}
