import type { Socket } from 'node:net'
import type pg from 'pg'

/** The answer did not come in time. Its connection was closed, because what it would read next is unknown. */
export class QueryTimeout extends Error {
  constructor() {
    super('the database took too long to answer')
    this.name = 'QueryTimeout'
  }
}

/**
 * Waits for the answer to a query, but no longer than a limit. Closes the connection when the limit is over.
 *
 * A stall of our own event loop does not count. After one, timers fire before the answers in the socket are read, so the
 * connection is closed only once the socket has had its turn and had nothing to read. node-postgres would close it.
 *
 * @param limitMs milliseconds; 0 for no limit
 * @throws QueryTimeout; what the query throws
 */
export async function answerWithin<T>(limitMs: number, client: pg.ClientBase, answer: Promise<T>): Promise<T> {
  if (limitMs === 0) return answer
  const { promise, reject } = Promise.withResolvers<never>()
  let isAnswered = false
  const timer = setTimeout(() => {
    const stream = streamOf(client)
    whenSilent(stream, () => {
      if (isAnswered) return
      stream.destroy()
      reject(new QueryTimeout())
    })
  }, limitMs)
  try {
    return await Promise.race([answer, promise])
  } finally {
    isAnswered = true
    clearTimeout(timer)
  }
}

/** Calls back after a turn of the event loop in which nothing was read. */
function whenSilent(stream: Socket, callback: () => void): void {
  const { bytesRead } = stream
  setImmediate(() => {
    if (stream.bytesRead === bytesRead) callback()
    else whenSilent(stream, callback)
  })
}

/** Returns the socket of a connection. */
export function streamOf(client: pg.ClientBase): Socket {
  const { connection } = Object(client)
  return connection.stream
}
