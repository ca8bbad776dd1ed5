import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { sendOnce } from '../generator/connection.ts'
import { TICK_US } from '../machine.ts'

export const ROOT = path.join(import.meta.dirname, '../..')

/** How a server is started. PORT is added to its environment. */
export interface Command {
  /** Arguments of Node, including the file. */
  args: readonly string[]
  environment: Record<string, string>
  /** Checkout to run it in; this one by default. */
  root?: string
  /** File that its output is added to; nowhere by default. */
  log?: string
}

/** A server that runs, in one process or several. */
export interface ServerProcess {
  /** One for each instance. */
  ports: readonly number[]
  pid: number
  /** CPU spent so far by it and its children, microseconds. */
  cpu: () => number
  residentMiB: () => number
  stop: () => Promise<void>
}

/** The bench stops all of them when it ends, however it ends. */
const running = new Set<ChildProcess>()
process.on('exit', () => {
  for (const child of running) child.kill('SIGTERM')
})
// Without these listeners a signal would end the bench before its exit listener runs.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))

export async function startServer({ args, environment, root = ROOT, log }: Command): Promise<ServerProcess> {
  const port = await freePort()
  const output = log === undefined ? 'ignore' : openSync(log, 'a')
  const { PATH = '' } = process.env
  const child = spawn(process.execPath, [...args], {
    cwd: root,
    env: {
      PATH,
      NODE_COMPILE_CACHE: path.join(root, 'node_modules/.cache/compile'),
      PORT: String(port),
      ...environment
    },
    stdio: ['ignore', output, 'inherit']
  })
  if (output !== 'ignore') closeSync(output)
  running.add(child)
  const { pid = 0 } = child
  return {
    ports: [port],
    pid,
    cpu: () => cpuOfFamily(pid),
    residentMiB: () => familyOf(pid).reduce((sum, member) => sum + residentOf(member), 0),
    stop: () => stop(child)
  }
}

/** Returns several instances as one server. */
export function together(instances: readonly ServerProcess[]): ServerProcess {
  return {
    ports: instances.flatMap(({ ports }) => ports),
    pid: instances[0]?.pid ?? 0,
    cpu: () => instances.reduce((sum, { cpu }) => sum + cpu(), 0),
    residentMiB: () => instances.reduce((sum, { residentMiB }) => sum + residentMiB(), 0),
    stop: async () => {
      await Promise.all(instances.map(({ stop }) => stop()))
    }
  }
}

/** Stops all servers that run. */
export async function stopAll(): Promise<void> {
  await Promise.all([...running].map(stop))
}

/** A server that issues no token after this long does not start. */
const START_TIMEOUT_MS = 30_000
const POLL_INTERVAL_MS = 5

/** Waits until the server answers this request with 200. Returns how long that took, milliseconds. */
export async function untilAnswered({ ports }: ServerProcess, request: Buffer): Promise<number> {
  const [port = 0] = ports
  const started = performance.now()
  while ((await sendOnce(port, request)) !== 200) {
    if (performance.now() - started > START_TIMEOUT_MS) throw new Error(`no token from port ${port}`)
    await sleep(POLL_INTERVAL_MS)
  }
  return performance.now() - started
}

/** Starts a second process beside the one that runs. Returns milliseconds from spawn to its first token. */
export async function coldStart(command: Command, request: Buffer): Promise<number> {
  const started = performance.now()
  const server = await startServer(command)
  await untilAnswered(server, request)
  const elapsed = performance.now() - started
  await server.stop()
  return elapsed
}

/** grantd ends by itself within 10 seconds. */
const STOP_TIMEOUT_MS = 12_000

async function stop(child: ChildProcess): Promise<void> {
  running.delete(child)
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS)
  await exited
  clearTimeout(timer)
}

/** CPU that a process and its ended children have spent, microseconds. */
function cpuOf(pid: number): number {
  const fields = procFile(pid, 'stat').split(') ')[1]?.split(' ') ?? []
  const [user = 0, system = 0, childrenUser = 0, childrenSystem = 0] = fields.slice(11, 15).map(Number)
  return (user + system + childrenUser + childrenSystem) * TICK_US
}

/** CPU of a process and all its descendants, microseconds. */
export function cpuOfFamily(pid: number): number {
  return familyOf(pid).reduce((sum, member) => sum + cpuOf(member), 0)
}

export function isRunning(pid: number): boolean {
  return procFile(pid, 'stat') !== ''
}

function residentOf(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(procFile(pid, 'status'))?.[1] ?? 0) / 1_024
}

/** Returns a process and all its descendants. */
function familyOf(pid: number): number[] {
  const children = procFile(pid, `task/${pid}/children`).trim().split(' ').filter(Boolean)
  return [pid, ...children.flatMap(child => familyOf(Number(child)))]
}

/** Returns an empty string when the process has just ended. */
function procFile(pid: number, name: string): string {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'utf8')
  } catch {
    return ''
  }
}

export async function freePort(): Promise<number> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  if (typeof address !== 'object' || address === null) throw new Error('no port')
  return address.port
}
