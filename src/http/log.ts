import { type DestinationStream, type Logger, pino } from 'pino'

/**
 * Creates a log of JSON lines. Of an error it writes only what cannot hold input or a row of the database.
 *
 * @param output standard output by default
 * @param base fields of every line
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

/** Returns the time member of a line. It is built once for all lines of a millisecond. */
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
