import { createServer } from 'node:http'
import t, { type Test } from 'tap'
import { tokenRequest } from '../../bench/connection.ts'
import { closedLoop, openLoop } from '../../bench/load.ts'
import { freePort } from '../../bench/processes.ts'
import { percentile } from '../../bench/statistics.ts'

const requests = ['a', 'b', 'c'].map(id => tokenRequest('/', id, 'secret'))

/** A server that answers after so long, with this status. */
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

t.test('a closed loop sends every request at least once, however little time it has', async t => {
  const { port, seen } = await listen(t, 200)
  const { answers, failures } = await closedLoop(port, requests, { connections: 1, seconds: 0 })
  t.equal(answers, 3)
  t.equal(failures, 0)
  t.equal(seen(), 3)
})

t.test('what is not 200 is a failure and has no latency', async t => {
  const { port } = await listen(t, 401)
  const { answers, failures, latencies } = await closedLoop(port, requests, { connections: 2, seconds: 0 })
  t.equal(answers, 0)
  t.ok(failures >= 3)
  t.equal(latencies.length, 0)
})

t.test('an open loop sends as many as are due', async t => {
  const { port, seen } = await listen(t, 200)
  const { answers } = await openLoop(port, requests, { perSecond: 200, seconds: 0.2 })
  t.equal(answers, 40)
  t.equal(seen(), 40)
})

t.test('in an open loop waiting for a connection counts as latency (no coordinated omission)', async t => {
  // 64 connections, each busy for 100 ms, serve 640 a second; of 200 at once the last waits for three turns.
  const { port } = await listen(t, 200, 100)
  const { latencies } = await openLoop(port, requests, { perSecond: 20_000, seconds: 0.01 })
  t.equal(latencies.length, 200)
  t.ok(percentile(latencies, 0.99) > 300, String(percentile(latencies, 0.99)))
})
