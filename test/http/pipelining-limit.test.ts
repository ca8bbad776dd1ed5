import { readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import t from 'tap'
import { startApp } from '../fixtures/app/app.ts'
import { createDatabase } from '../fixtures/app/database.ts'
import { send } from '../fixtures/app/grantd.ts'
import { capturedLog } from '../fixtures/app/log.ts'
import { exchangeBytes } from '../fixtures/app/raw-http.ts'
import { spawnServer, temporaryFolder, untilReady } from '../fixtures/run/process.ts'
import { until } from '../fixtures/run/until.ts'

const LIVE = 'GET /health/live HTTP/1.1\r\nHost: grantd\r\n\r\n'

t.test('64 requests at once on one connection are answered; with more, the connection is closed', async t => {
  const { log, lines } = capturedLog()
  const grantd = await startApp(t, { log })
  const statuses = (received: string) => received.match(/HTTP\/1\.1 200 /g)?.length ?? 0
  const answers = await exchangeBytes(grantd.baseUrl, LIVE.repeat(64), received => statuses(received) === 64)
  t.equal(statuses(answers), 64)
  const closed = await exchangeBytes(grantd.baseUrl, LIVE.repeat(65)).catch(error => error.code)
  t.ok(closed === 'ECONNRESET' || statuses(closed) < 65, closed)
  t.equal((await grantd.send('GET', '/health/live')).status, 200)
  t.equal(lines.filter(line => line.includes('too many requests at once')).length, 1, 'one line for the connection')
})

// Without the limit, one burst of 1,680 requests makes the process hold 209 MB.
t.test('callers that ask for the API description many times at once and never read cost under 30 MB', async t => {
  const server = await spawnServer(t, { DATABASE_URL: await createDatabase(t), DATA_DIR: temporaryFolder(t) })
  await untilReady(server)
  const request = 'GET /openapi.yaml HTTP/1.1\r\nHost: grantd\r\n\r\n'
  const { text } = await send('GET', `${server.baseUrl}/openapi.yaml`)
  const answered = (received: string) => received.length > 20 * text.length
  // Readers first, so that the heap of the new process has grown to its size.
  for (let round = 0; round < 50; round++) await exchangeBytes(server.baseUrl, request.repeat(20), answered)
  const grownBy = async (connections: number, count: number): Promise<number> => {
    const before = residentMiB(server.child.pid)
    const sockets = Array.from({ length: connections }, () => sendAndNeverRead(server.baseUrl, request.repeat(count)))
    t.teardown(() => {
      for (const socket of sockets) socket.destroy()
    })
    await until('all is sent', () => sockets.every(socket => socket.destroyed || socket.writableLength === 0))
    t.equal((await send('GET', `${server.baseUrl}/health/ready`)).status, 200)
    return residentMiB(server.child.pid) - before
  }
  // The least of three: a process also grows for other reasons. Without the limit, each burst costs 209 MB more.
  const leastGrowth = async (connections: number, count: number): Promise<number> =>
    Math.min(await grownBy(connections, count), await grownBy(connections, count), await grownBy(connections, count))
  const burst = await leastGrowth(1, 1_680)
  t.ok(burst < 30, `a burst of 1,680 requests: ${Math.round(burst)} MiB`)
  const slowReaders = await leastGrowth(10, 64)
  t.ok(slowReaders < 30, `ten slow readers of 64 answers each: ${Math.round(slowReaders)} MiB`)
})

function sendAndNeverRead(baseUrl: string, bytes: string): Socket {
  const { hostname, port } = new URL(baseUrl)
  const socket = connect(Number(port), hostname)
  socket.on('error', () => {})
  socket.pause()
  socket.write(bytes)
  return socket
}

/** Resident memory of a process. */
function residentMiB(pid: number | undefined): number {
  const [, kib] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
  return Number(kib) / 1_024
}
