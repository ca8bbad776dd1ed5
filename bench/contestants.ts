import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { startEmbeddedPostgres } from '../src/database/embedded.ts'

/** A server under load. */
export interface Contestant {
  name: string
  port: number
  /** Whole HTTP token requests, one per client. */
  requests: Buffer[]
  /** CPU spent so far, in microseconds. */
  serverCpu: () => number
  postgresCpu: () => number
  residentMiB: () => number
  stop: () => Promise<void>
}

const ROOT = path.join(import.meta.dirname, '..')

/** Fastify, a form, and at most one signature: see ceiling.ts. */
export async function startCeiling(name: string, kind: 'sign' | 'static', clients: number): Promise<Contestant> {
  const port = await freePort()
  const child = start('bench/ceiling.ts', { PORT: String(port), KIND: kind })
  await once(child.stdout ?? child, 'data')
  const requests = Array.from({ length: clients }, () => tokenRequest(randomId(), `grantd_${'x'.repeat(49)}`))
  return { name, port, requests, ...gauges(child), postgresCpu: () => 0, stop: () => stop(child) }
}

/** grantd as `npm start` runs it, on an embedded Postgres of its own that keeps what it commits. */
export async function startGrantd(name: string, clients: number): Promise<Contestant> {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'grantd-bench-'))
  const port = await freePort()
  const log = path.join(folder, 'log')
  const child = start('src/server.ts', { PORT: String(port), METRICS_PORT: '0', DATA_DIR: folder }, openSync(log, 'w'))
  const lines = await curlLines(log)
  const [, token = ''] = /Authorization: (Bearer [^']+)'/.exec(lines) ?? []
  const requests = await registerClients(port, token, folder, clients)
  const postmaster = Number.parseInt(readFileSync(path.join(folder, 'postgres/cluster/postmaster.pid'), 'utf8'), 10)
  return {
    name,
    port,
    requests,
    ...gauges(child),
    postgresCpu: () => cpuOfTree(postmaster),
    stop: async () => {
      await stop(child)
      await sleep(500)
      rmSync(folder, { recursive: true, force: true })
    }
  }
}

/** One by the API; the others are copies of its row, so that making them does not take a hash each. */
async function registerClients(port: number, token: string, folder: string, clients: number): Promise<Buffer[]> {
  const answer = await fetch(`http://127.0.0.1:${port}/v1/sites/bench/app-registrations`, {
    method: 'POST',
    headers: { authorization: token, 'content-type': 'application/json' },
    body: JSON.stringify({ name: 'bench', expiresAt: new Date(Date.now() + 86_400_000 * 365).toISOString() })
  })
  const { clientId, clientSecret }: { clientId: string; clientSecret: string } = JSON.parse(await answer.text())
  const ids = Array.from({ length: clients }, randomId)
  const embedded = await startEmbeddedPostgres(path.join(folder, 'postgres'))
  const client = new pg.Client({ connectionString: embedded.ownerUrl })
  await client.connect()
  await client.query(
    `insert into registrations select id, site_id, name, name_folded, secret_hash, scopes, enabled, registered_at, expires_at
     from registrations, unnest($2::text[]) as id where client_id = $1`,
    [clientId, ids]
  )
  await client.end()
  embedded.release()
  return ids.map(id => tokenRequest(id, clientSecret))
}

function tokenRequest(clientId: string, clientSecret: string): Buffer {
  const body = `grant_type=client_credentials&client_id=${clientId}&client_secret=${clientSecret}`
  return Buffer.from(
    `POST /oauth/token HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-www-form-urlencoded\r\n` +
      `Content-Length: ${body.length}\r\n\r\n${body}`
  )
}

function randomId(): string {
  return randomBytes(10).toString('hex')
}

function start(file: string, environment: Record<string, string>, output: number | 'pipe' = 'pipe'): ChildProcess {
  const { PATH = '' } = process.env
  return spawn(process.execPath, [file], {
    cwd: ROOT,
    env: { PATH, NODE_COMPILE_CACHE: path.join(ROOT, 'node_modules/.cache/compile'), ...environment },
    stdio: ['ignore', output, 'inherit']
  })
}

async function curlLines(log: string): Promise<string> {
  for (;;) {
    const output = readFileSync(log, 'utf8')
    if (output.includes('API reference')) return output
    await sleep(20)
  }
}

async function stop(child: ChildProcess): Promise<void> {
  const exited = once(child, 'exit')
  child.kill('SIGTERM')
  await exited
}

function gauges({ pid = 0 }: ChildProcess): Pick<Contestant, 'serverCpu' | 'residentMiB'> {
  return {
    serverCpu: () => cpuOf(pid),
    residentMiB: () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1_024
  }
}

/** Of Linux's clock ticks, a hundred make a second. */
const TICK_US = 10_000

function cpuOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  return (Number(fields[11]) + Number(fields[12])) * TICK_US
}

function cpuOfTree(pid: number): number {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean)
  return cpuOf(pid) + children.reduce((sum, child) => sum + cpuOf(Number(child)), 0)
}

async function freePort(): Promise<number> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  if (typeof address !== 'object' || address === null) throw new Error('no port')
  return address.port
}
