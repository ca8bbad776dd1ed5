import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { createDatabase } from '../fixtures/app/database.ts'
import type { Grantd } from '../fixtures/app/grantd.ts'
import type { Client } from '../fixtures/faults/traffic.ts'
import { type Instance, startInstance, warmClients } from '../fixtures/run/instance.ts'

/** Callers that send a burst of requests and never read an answer. */

/** Without a bound, these made one process grow by 714 MiB and stall for 1.3 s. */
const CONNECTIONS = 4
/** node:http starts all requests of one read of 64 KiB. */
const BURST_BYTES = 65_536
const ATTACK_MS = 1_000
const MAX_GROWTH_MIB = 120
/** Limit of an exchange beside the attack. A stall of the event loop takes longer. */
const SERVED_WITHIN_MS = 1_000

const PATHS = [
  '/openapi.yaml',
  '/docs/',
  '/docs/js/scalar.js',
  '/.well-known/jwks.json',
  '/health/ready',
  '/v1/alerts',
  '/x'
]

function residentMiB({ server }: Instance): number {
  return Number(execFileSync('ps', ['-o', 'rss=', '-p', String(server.child.pid)], { encoding: 'utf8' })) / 1_024
}

async function open({ baseUrl }: Grantd): Promise<Socket> {
  const { hostname, port } = new URL(baseUrl)
  const socket = connect(Number(port), hostname)
  socket.on('error', () => {})
  await once(socket, 'connect')
  return socket
}

/** Exchanges one after the other for a while. @returns milliseconds of the slowest, and the most memory in MiB */
async function exchangeBeside(t: Test, instance: Instance, client: Client): Promise<{ slowest: number; peak: number }> {
  const times: number[] = []
  let peak = 0
  for (const started = performance.now(); performance.now() - started < ATTACK_MS; ) {
    const sentAt = performance.now()
    const { status } = await instance.grantd.exchange(client)
    times.push(performance.now() - sentAt)
    peak = Math.max(peak, residentMiB(instance))
    if (status !== 200) t.fail(`an exchange beside the attack was ${status}`)
  }
  return { slowest: Math.max(...times), peak }
}

// [LOAD-10]
t.test('callers that never read their answers cost bounded memory on every path, and delay no exchange', async t => {
  const instance = await startInstance(t, await createDatabase(t), { LOG_LEVEL: 'fatal' })
  const [client] = await warmClients(1, instance.grantd)
  if (client === undefined) throw new Error('no client')
  for (const path of PATHS) await instance.grantd.send('GET', path)
  const idle = residentMiB(instance)
  for (const path of PATHS) {
    const request = `GET ${path} HTTP/1.1\r\nHost: grantd\r\n\r\n`
    const burst = request.repeat(Math.floor(BURST_BYTES / request.length))
    const sockets = await Promise.all(Array.from({ length: CONNECTIONS }, () => open(instance.grantd)))
    for (const socket of sockets) socket.pause().write(burst)
    const { slowest, peak } = await exchangeBeside(t, instance, client)
    const growth = peak - idle
    for (const socket of sockets) socket.destroy()
    t.ok(growth < MAX_GROWTH_MIB, `${path}: ${Math.round(growth)} MiB more`)
    t.ok(slowest < SERVED_WITHIN_MS, `${path}: an exchange took ${Math.round(slowest)} ms`)
    t.comment(`${path}: ${Math.round(growth)} MiB more, the slowest exchange ${Math.round(slowest)} ms`)
  }
})
