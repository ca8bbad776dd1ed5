import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import t from 'tap'
import { createDatabase } from '../fixtures/app/database.ts'
import type { Grantd } from '../fixtures/app/grantd.ts'
import { startInstance } from '../fixtures/run/instance.ts'
import { until } from '../fixtures/run/until.ts'

/** Limit of first exchanges beside the flood, at the median. With checks on the connection of cold clients they wait for seconds. */
const SERVED_WITHIN_MS = 500

async function open({ baseUrl }: Grantd): Promise<Socket> {
  const { hostname, port } = new URL(baseUrl)
  const socket = connect(Number(port), hostname)
  socket.on('error', () => {})
  await once(socket, 'connect')
  return socket
}

// [LOAD-11]
t.test('a flood of readiness checks delays no first exchange of a client and fails none', async t => {
  const { grantd } = await startInstance(t, await createDatabase(t), { LOG_LEVEL: 'fatal' })
  const clients = await Promise.all(Array.from({ length: 20 }, () => grantd.register()))
  const sockets = await Promise.all(Array.from({ length: 50 }, () => open(grantd)))
  let answers = 0
  const statuses = new Set<string>()
  for (const socket of sockets) {
    const ask = () => socket.write('GET /health/ready HTTP/1.1\r\nHost: grantd\r\n\r\n')
    socket.on('data', chunk => {
      answers++
      statuses.add(String(chunk).slice(9, 12))
      ask()
    })
    ask()
  }
  await until('the flood runs', () => answers > 500)
  const times: number[] = []
  for (const client of clients) {
    const sentAt = performance.now()
    t.equal((await grantd.exchange(client)).status, 200)
    times.push(performance.now() - sentAt)
  }
  for (const socket of sockets) socket.destroy()
  const median = times.sort((a, b) => a - b)[times.length >> 1] ?? Number.POSITIVE_INFINITY
  t.ok(median < SERVED_WITHIN_MS, `first exchanges took ${median} ms`)
  t.same([...statuses], ['200'])
  t.comment(`${answers} readiness checks; first exchanges took ${Math.round(median)} ms`)
})
