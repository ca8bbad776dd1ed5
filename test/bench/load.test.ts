import { createServer } from 'node:http'
import t, { type Test } from 'tap'
import { freePort } from '../../bench/contestants/processes.ts'
import { tokenRequest } from '../../bench/generator/connection.ts'
import { closedLoop, openLoop } from '../../bench/generator/load.ts'
import { percentile } from '../../bench/statistics.ts'

const requests = ['a', 'b', 'c'].map(id => tokenRequest('/', id, 'secret'))

/** Starts a server that answers with this status after a delay. */
async function listen(t: Test, status: number, delayMs = 0): Promise<{ port: number; seen: () => number }> {
  let seen = 0
  const server = createServer((request, response) => {
    seen++
    request.resume()
    setTimeout(() => response.writeHead(status, { 'content-length': 2 }).end('{}'), delayMs)
  })
  const port = await freePort()
  await new Promise<void>(resolve => server.listen(port, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  return { port, seen: () => seen }
}

t.test('a closed loop sends every request at least once, however short it is', async t => {
  const { port, seen } = await listen(t, 200)
  const { answers, failures } = await closedLoop([port], requests, { connections: 1, seconds: 0 })
  t.equal(answers, 3)
  t.equal(failures, 0)
  t.equal(seen(), 3)
})

t.test('a status other than 200 is a failure without latency', async t => {
  const { port } = await listen(t, 401)
  const { answers, failures, latencies } = await closedLoop([port], requests, { connections: 2, seconds: 0 })
  t.equal(answers, 0)
  t.ok(failures >= 3)
  t.equal(latencies.length, 0)
})

t.test('both loops spread their connections evenly over all instances', async t => {
  const [one, two] = [await listen(t, 200), await listen(t, 200)]
  const ports = [one.port, two.port]
  await closedLoop(ports, requests, { connections: 2, seconds: 0 })
  t.ok(one.seen() > 0 && two.seen() > 0)
  await openLoop(ports, requests, { perSecond: 500, seconds: 0.2 })
  t.ok(one.seen() > 30 && two.seen() > 30, `${one.seen()} and ${two.seen()}`)
})

t.test('an open loop sends as many requests as are due', async t => {
  const { port, seen } = await listen(t, 200)
  const { answers } = await openLoop([port], requests, { perSecond: 200, seconds: 0.2 })
  t.equal(answers, 40)
  t.equal(seen(), 40)
})

t.test('in an open loop the wait for a connection counts as latency (no coordinated omission)', async t => {
  // 64 connections that are busy for 100 ms each serve 640 a second; of 200 requests at once the last waits three turns.
  const { port } = await listen(t, 200, 100)
  const { latencies } = await openLoop([port], requests, { perSecond: 20_000, seconds: 0.01 })
  t.equal(latencies.length, 200)
  t.ok(percentile(latencies, 0.99) > 300, String(percentile(latencies, 0.99)))
})

t.test('a server that stops answering costs an open loop failures, and no wrong latency', async t => {
  const server = createServer(request => request.resume())
  const port = await freePort()
  await new Promise<void>(resolve => server.listen(port, '127.0.0.1', resolve))
  t.teardown(() => server.closeAllConnections())
  t.teardown(() => server.close())
  const { answers, failures, latencies } = await openLoop([port], requests, { perSecond: 100, seconds: 0.1 })
  t.same([answers, failures, latencies.length], [0, 10, 0])
})
