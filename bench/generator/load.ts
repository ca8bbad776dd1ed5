import { type Connection, openConnection } from './connection.ts'

/** One stretch of load. */
export interface Load {
  /** Answers with status 200. */
  answers: number
  failures: number
  /** How often each status came; 0 stands for no answer. */
  statuses: ReadonlyMap<number, number>
  seconds: number
  /** Milliseconds, sorted; only answers with status 200 have one. */
  latencies: Float64Array
  /** CPU of the generator, microseconds. */
  generatorCpu: number
}

interface ClosedLoop {
  connections: number
  seconds: number
}

/**
 * Runs a closed loop: each connection always has one request in progress.
 *
 * @param ports of the instances; connections are spread evenly over them
 * @param requests whole HTTP requests, sent in turn; each is sent at least once, however long that takes
 */
export async function closedLoop(
  ports: readonly number[],
  requests: readonly Buffer[],
  { connections, seconds }: ClosedLoop
): Promise<Load> {
  const opened = await openAll(ports, connections)
  const tally = startTally()
  const deadline = performance.now() + seconds * 1_000
  let sent = 0
  await Promise.all(
    opened.map(connection => {
      const { promise, resolve } = Promise.withResolvers<void>()
      const next = (): void => {
        const sentAt = performance.now()
        if (sentAt >= deadline && sent >= requests.length) {
          resolve()
          return
        }
        connection.send(requestAt(requests, sent++), status => {
          tally.count(status, sentAt)
          // A broken connection cannot send again.
          if (status === 0) resolve()
          else next()
        })
      }
      next()
      return promise
    })
  )
  closeAll(opened)
  return tally.read()
}

interface OpenLoop {
  perSecond: number
  seconds: number
  /** Source addresses of the connections, in turn. */
  localAddresses?: readonly string[]
}

/** How often the open loop looks for due requests, milliseconds. This costs well under a tenth of a core. */
const LOOK_INTERVAL_MS = 0.1
const OPEN_CONNECTIONS = 64
/** Requests that are not answered this long after the last was due count as failed. */
const DRAIN_TIMEOUT_MS = 5_000
const SLEEPER = new Int32Array(new SharedArrayBuffer(4))

/**
 * Runs an open loop: requests are due by a schedule, whether or not earlier ones are answered. Latency counts from the
 * instant at which a request was due, so that waiting for a connection shows (no coordinated omission).
 *
 * @param ports of the instances; connections are spread evenly over them
 * @param requests whole HTTP requests, sent in turn
 */
export async function openLoop(
  ports: readonly number[],
  requests: readonly Buffer[],
  { perSecond, seconds, localAddresses }: OpenLoop
): Promise<Load> {
  const opened = await openAll(ports, OPEN_CONNECTIONS, localAddresses)
  const idle = [...opened]
  const total = Math.round(perSecond * seconds)
  const tally = startTally()
  const started = performance.now()
  let due = 0
  let sent = 0
  let answered = 0
  const sendDue = (): void => {
    while (sent < due) {
      const connection = idle.shift()
      if (connection === undefined) return
      const index = sent++
      connection.send(requestAt(requests, index), status => {
        tally.count(status, started + (index * 1_000) / perSecond)
        answered++
        if (status !== 0) idle.push(connection)
        sendDue()
      })
    }
  }
  while (answered < total) {
    const elapsed = performance.now() - started
    if (elapsed > seconds * 1_000 + DRAIN_TIMEOUT_MS) break
    due = Math.min(total, Math.floor((elapsed * perSecond) / 1_000) + 1)
    sendDue()
    await new Promise(setImmediate)
    Atomics.wait(SLEEPER, 0, 0, LOOK_INTERVAL_MS)
  }
  tally.countMissing(total - answered)
  closeAll(opened)
  return tally.read()
}

interface Tally {
  /** @param since when the request was sent or due, of performance.now() */
  count: (status: number, since: number) => void
  /** Counts requests without an answer. */
  countMissing: (requests: number) => void
  read: () => Load
}

function startTally(): Tally {
  const latencies: number[] = []
  const statuses = new Map<number, number>()
  const started = performance.now()
  const cpu = process.cpuUsage()
  let isRead = false
  const add = (status: number, requests: number): void => {
    if (requests > 0) statuses.set(status, (statuses.get(status) ?? 0) + requests)
  }
  return {
    count: (status, since) => {
      // Connections that are closed at the end report requests that have been counted as missing.
      if (isRead) return
      add(status, 1)
      if (status === 200) latencies.push(performance.now() - since)
    },
    countMissing: requests => add(0, requests),
    read: () => {
      isRead = true
      const { user, system } = process.cpuUsage(cpu)
      return {
        answers: latencies.length,
        failures: [...statuses].reduce((sum, [status, count]) => sum + (status === 200 ? 0 : count), 0),
        statuses,
        seconds: (performance.now() - started) / 1_000,
        latencies: Float64Array.from(latencies).sort(),
        generatorCpu: user + system
      }
    }
  }
}

function openAll(
  ports: readonly number[],
  connections: number,
  localAddresses: readonly string[] = ['127.0.0.1']
): Promise<Connection[]> {
  return Promise.all(
    Array.from({ length: connections }, (_, index) =>
      openConnection(ports[index % ports.length] ?? 0, localAddresses[index % localAddresses.length])
    )
  )
}

function requestAt(requests: readonly Buffer[], index: number): Buffer {
  const request = requests[index % requests.length]
  if (request === undefined) throw new Error('no requests to send')
  return request
}

function closeAll(connections: readonly Connection[]): void {
  for (const connection of connections) connection.close()
}
