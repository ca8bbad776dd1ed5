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

// security.md H1: one burst of 1,680 requests made the process hold 209 MB.
t.test('callers that ask for the API description many times at once and never read cost under 30 MB', async t => {
  const server = await spawnServer(t, { DATABASE_URL: await createDatabase(t), DATA_DIR: temporaryFolder(t) })
  await untilReady(server)
  await send('GET', `${server.baseUrl}/openapi.yaml`)
  const before = residentMiB(server.child.pid)
  const request = 'GET /openapi.yaml HTTP/1.1\r\nHost: grantd\r\n\r\n'
  const sockets = [...Array.from({ length: 5 }, () => 1_680), ...Array.from({ length: 50 }, () => 64)].map(count =>
    sendAndNeverRead(server.baseUrl, request.repeat(count))
  )
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
  })
  await until('all have been sent', () => sockets.every(socket => socket.destroyed || socket.writableLength === 0))
  t.equal((await send('GET', `${server.baseUrl}/health/ready`)).status, 200)
  const grown = residentMiB(server.child.pid) - before
  t.ok(grown < 30, `${Math.round(grown)} MiB`)
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
