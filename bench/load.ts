import { connect } from 'node:net'

/** What a run of load came to. Latencies in milliseconds, sorted. */
export interface Load {
  answers: number
  failures: number
  seconds: number
  latencies: Float64Array
}

/**
 * Closed loop: so many connections, each with one request under way, for so long.
 *
 * Speaks HTTP by hand on sockets: it shares the machine with what it measures.
 *
 * @param requests whole HTTP requests, sent in turn
 */
export async function closedLoop(
  port: number,
  requests: readonly Buffer[],
  { connections, seconds }: { connections: number; seconds: number }
): Promise<Load> {
  const latencies: number[] = []
  let failures = 0
  let next = 0
  const started = performance.now()
  const deadline = started + seconds * 1_000
  await Promise.all(
    Array.from({ length: connections }, async () => {
      const connection = await open(port)
      while (performance.now() < deadline) {
        const sentAt = performance.now()
        const status = await connection.send(requests[next++ % requests.length] ?? Buffer.alloc(0))
        if (status === 200) latencies.push(performance.now() - sentAt)
        else failures++
      }
      connection.close()
    })
  )
  const elapsed = (performance.now() - started) / 1_000
  return { answers: latencies.length, failures, seconds: elapsed, latencies: Float64Array.from(latencies).sort() }
}

/**
 * Open loop: requests come at their own pace, whether or not earlier ones are answered, so that waiting shows.
 *
 * @param perSecond requests a second
 */
export async function openLoop(
  port: number,
  requests: readonly Buffer[],
  { perSecond, seconds }: { perSecond: number; seconds: number }
): Promise<Load> {
  const idle: Connection[] = await Promise.all(Array.from({ length: 64 }, () => open(port)))
  const latencies: number[] = []
  const running: Promise<void>[] = []
  let failures = 0
  const started = performance.now()
  const exchange = async (index: number): Promise<void> => {
    const dueAt = started + (index * 1_000) / perSecond
    const connection = idle.pop() ?? (await open(port))
    const status = await connection.send(requests[index % requests.length] ?? Buffer.alloc(0))
    idle.push(connection)
    if (status === 200) latencies.push(performance.now() - dueAt)
    else failures++
  }
  const total = Math.round(perSecond * seconds)
  for (let sent = 0; sent < total; ) {
    const due = Math.min(total, ((performance.now() - started) * perSecond) / 1_000)
    for (; sent < due; sent++) running.push(exchange(sent))
    await new Promise(setImmediate)
  }
  await Promise.all(running)
  for (const connection of idle) connection.close()
  const elapsed = (performance.now() - started) / 1_000
  return { answers: latencies.length, failures, seconds: elapsed, latencies: Float64Array.from(latencies).sort() }
}

export function percentile({ latencies }: Load, share: number): number {
  return latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))] ?? Number.NaN
}

interface Connection {
  /** @returns the status */
  send: (request: Buffer) => Promise<number>
  close: () => void
}

function open(port: number): Promise<Connection> {
  const opened = Promise.withResolvers<Connection>()
  const socket = connect(port, '127.0.0.1')
  socket.setNoDelay(true)
  let answered: (status: number) => void = () => {}
  let received = ''
  socket.on('data', chunk => {
    received += chunk.toString('latin1')
    const head = received.indexOf('\r\n\r\n')
    if (head < 0) return
    const [, length = '0'] = /content-length: (\d+)/i.exec(received) ?? []
    if (received.length < head + 4 + Number(length)) return
    const status = Number(received.slice(9, 12))
    received = ''
    answered(status)
  })
  socket.on('error', () => answered(0))
  socket.on('close', () => answered(0))
  socket.on('connect', () =>
    opened.resolve({
      send: request => {
        const { promise, resolve } = Promise.withResolvers<number>()
        answered = resolve
        socket.write(request)
        return promise
      },
      close: () => socket.destroy()
    })
  )
  socket.on('error', opened.reject)
  return opened.promise
}
