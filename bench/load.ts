import { type Connection, openConnection } from './connection.ts'

/** What a run of load came to. */
export interface Load {
  /** Answers with status 200. */
  answers: number
  failures: number
  /** How many of each status; 0 where there was no answer. */
  statuses: ReadonlyMap<number, number>
  seconds: number
  /** Milliseconds, sorted. */
  latencies: Float64Array
  /** CPU of the generator, microseconds. */
  generatorCpu: number
}

/**
 * Closed loop: so many connections, each with one request under way.
 *
 * @param requests whole HTTP requests, sent in turn; each at least once, however long that takes
 */
export async function closedLoop(
  port: number,
  requests: readonly Buffer[],
  { connections, seconds }: { connections: number; seconds: number }
): Promise<Load> {
  const opened = await Promise.all(Array.from({ length: connections }, () => openConnection(port)))
  const finish = tally()
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
          finish.count(status, sentAt)
          // A broken connection has nothing to wait for.
          if (status === 0) resolve()
          else next()
        })
      }
      next()
      return promise
    })
  )
  closeAll(opened)
  return finish()
}

/** How often the open loop looks what is due, milliseconds: a share of a core well under a tenth. */
const LOOK_INTERVAL_MS = 0.1
const OPEN_CONNECTIONS = 64
const SLEEPER = new Int32Array(new SharedArrayBuffer(4))

/**
 * Open loop: requests come at their own pace, whether or not earlier ones are answered. Latency counts from the
 * instant at which a request was due, so that waiting for its turn shows (no coordinated omission).
 *
 * @param localAddresses where they come from, in turn
 */
export async function openLoop(
  port: number,
  requests: readonly Buffer[],
  options: { perSecond: number; seconds: number; localAddresses?: readonly string[] }
): Promise<Load> {
  const { perSecond, seconds, localAddresses = ['127.0.0.1'] } = options
  const connections = Math.max(OPEN_CONNECTIONS, localAddresses.length)
  const opened = await Promise.all(
    Array.from({ length: connections }, (_, index) =>
      openConnection(port, localAddresses[index % localAddresses.length])
    )
  )
  const idle = [...opened]
  const due: number[] = []
  const finish = tally()
  const total = Math.round(perSecond * seconds)
  const started = performance.now()
  let answered = 0
  const sendDue = (): void => {
    while (due.length > 0) {
      const connection = idle.shift()
      if (connection === undefined) return
      const index = due.shift() ?? 0
      connection.send(requestAt(requests, index), status => {
        finish.count(status, started + (index * 1_000) / perSecond)
        answered++
        if (status !== 0) idle.push(connection)
        sendDue()
      })
    }
  }
  for (let sent = 0; answered < total; ) {
    const elapsed = performance.now() - started
    for (; sent < total && (sent * 1_000) / perSecond <= elapsed; sent++) due.push(sent)
    sendDue()
    await new Promise(setImmediate)
    Atomics.wait(SLEEPER, 0, 0, LOOK_INTERVAL_MS)
    if (elapsed > seconds * 1_000 + DRAIN_TIMEOUT_MS) break
  }
  for (; answered < total; answered++) finish.count(0, 0)
  closeAll(opened)
  return finish()
}

/** What is not answered so long after the last was due counts as failed. */
const DRAIN_TIMEOUT_MS = 5_000

interface Tally {
  (): Load
  count: (status: number, since: number) => void
}

function tally(): Tally {
  const latencies: number[] = []
  const statuses = new Map<number, number>()
  const started = performance.now()
  const cpu = process.cpuUsage()
  const finish = (): Load => {
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
  const count = (status: number, since: number): void => {
    statuses.set(status, (statuses.get(status) ?? 0) + 1)
    if (status === 200) latencies.push(performance.now() - since)
  }
  return Object.assign(finish, { count })
}

function requestAt(requests: readonly Buffer[], index: number): Buffer {
  const request = requests[index % requests.length]
  if (request === undefined) throw new Error('no requests to send')
  return request
}

function closeAll(connections: readonly Connection[]): void {
  for (const connection of connections) connection.close()
}
