import { once } from 'node:events'
import { createServer } from 'node:http'
import { connect, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { ConnectionLimit } from '../../src/http/connection-limit.ts'
import { startApp } from '../fixtures/app/app.ts'
import { capturedLog } from '../fixtures/app/log.ts'
import { until } from '../fixtures/run/until.ts'

/** Opens so many connections from this address. The server may close some of them. */
async function openConnections(t: Test, port: number, localAddress: string, count: number): Promise<Socket[]> {
  return Promise.all(
    Array.from({ length: count }, async () => {
      const socket = connect({ port, host: '127.0.0.1', localAddress })
      socket.on('error', () => {})
      t.teardown(() => socket.destroy())
      await once(socket, 'connect')
      return socket.resume()
    })
  )
}

const isOpen = (socket: Socket): boolean => !socket.destroyed && !socket.readableEnded

/** Two servers with one limit of 40, as HOST=localhost has for IPv4 and IPv6. */
async function listenTwice(t: Test, trustedProxies: readonly string[] = []) {
  const { log, lines } = capturedLog()
  const limit = new ConnectionLimit({ max: 40, trustedProxies, log })
  const listen = async (): Promise<number> => {
    const server = createServer().listen(0, '127.0.0.1')
    limit.watch(server)
    t.teardown(() => server.close().closeAllConnections())
    await once(server, 'listening')
    const address = server.address()
    return typeof address === 'object' && address !== null ? address.port : 0
  }
  return { limit, lines, first: await listen(), second: await listen() }
}

t.test('one source gets half of MAX_CONNECTIONS over all listeners, and others still get in', async t => {
  const { limit, lines, first, second } = await listenTwice(t)
  const open = async (localAddress: string, count: number) => [
    ...(await openConnections(t, first, localAddress, count)),
    ...(await openConnections(t, second, localAddress, count))
  ]
  const one = await open('127.0.0.1', 15)
  await until('half of them are open', () => one.filter(isOpen).length === 20)
  t.match(lines.join(''), 'one source holds its share of MAX_CONNECTIONS')
  const others = [...(await open('127.0.0.2', 9)), ...(await open('127.0.0.3', 9))]
  await until('the other half is open', () => others.filter(isOpen).length === 20)
  t.equal(one.filter(isOpen).length, 20)
  t.same(limit.load, { open: 40, rejected: 26 })
  for (const socket of [...one, ...others]) socket.destroy()
  await until('all places are free', () => limit.load.open === 0)
  await openConnections(t, first, '127.0.0.1', 1)
  await until('a new one is let in', () => limit.load.open === 1)
})

t.test('a trusted proxy may hold all connections, because it carries those of many callers', async t => {
  const { limit, first } = await listenTwice(t, ['127.0.0.1', '10.0.0.0/8', 'fd00::/8'])
  const sockets = await openConnections(t, first, '127.0.0.1', 50)
  await until('all but ten are open', () => sockets.filter(isOpen).length === 40)
  t.same(limit.load, { open: 40, rejected: 10 })
})

t.test('the workers of an instance share MAX_CONNECTIONS', async t => {
  const environment = { MAX_CONNECTIONS: '40', WORKERS: '4', TRUSTED_PROXIES: '127.0.0.1' }
  const grantd = await startApp(t, { environment })
  const sockets = await openConnections(t, Number(new URL(grantd.baseUrl).port), '127.0.0.1', 20)
  await until('a quarter of them is open', () => sockets.filter(isOpen).length === 10)
})

t.test('an idle connection stays open for KEEP_ALIVE_SECONDS, which each answer announces', async t => {
  for (const [environment, seconds] of [
    [{}, 72],
    [{ KEEP_ALIVE_SECONDS: '620' }, 620],
    [{ KEEP_ALIVE_SECONDS: '1' }, 1]
  ] as const) {
    const grantd = await startApp(t, { environment })
    const socket = connect(Number(new URL(grantd.baseUrl).port), '127.0.0.1')
    t.teardown(() => socket.destroy())
    socket.write('GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n')
    const [answer] = await once(socket, 'data')
    t.match(String(answer), new RegExp(`keep-alive: timeout=${seconds}\r\n`, 'i'))
    if (seconds > 1) continue
    const answeredAt = performance.now()
    await once(socket.resume(), 'end')
    const idleMs = performance.now() - answeredAt
    // Node waits a second longer than it announces, so that a client that obeys never loses a request.
    t.ok(idleMs > 900 && idleMs < 6_000, `${Math.round(idleMs)} ms`)
  }
})
