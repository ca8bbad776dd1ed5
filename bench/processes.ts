import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { sendOnce } from './connection.ts'
import { TICK_US } from './machine.ts'

export const ROOT = path.join(import.meta.dirname, '..')

/** How a server is started; PORT is added. */
export interface Command {
  /** Arguments of Node, the file among them. */
  args: readonly string[]
  environment: Record<string, string>
}

/** A server that runs. */
export interface ServerProcess {
  port: number
  pid: number
  /** CPU spent so far by it and its children, microseconds. */
  cpu: () => number
  residentMiB: () => number
  stop: () => Promise<void>
}

/** None outlives the bench, however that ends. */
const running = new Set<ChildProcess>()
process.on('exit', () => {
  for (const child of running) child.kill('SIGTERM')
})

/** @param output file descriptor for what it prints */
export async function startServer(
  { args, environment }: Command,
  output: number | 'ignore' = 'ignore'
): Promise<ServerProcess> {
  const port = await freePort()
  const { PATH = '' } = process.env
  const child = spawn(process.execPath, [...args], {
    cwd: ROOT,
    env: {
      PATH,
      NODE_COMPILE_CACHE: path.join(ROOT, 'node_modules/.cache/compile'),
      PORT: String(port),
      ...environment
    },
    stdio: ['ignore', output, 'inherit']
  })
  running.add(child)
  const { pid = 0 } = child
  return {
    port,
    pid,
    cpu: () => cpuOfFamily(pid),
    residentMiB: () => familyOf(pid).reduce((sum, member) => sum + residentOf(member), 0),
    stop: () => stop(child)
  }
}

/** A server that isn't there after so long doesn't start. */
const START_TIMEOUT_MS = 30_000
const POLL_INTERVAL_MS = 5

/** @returns milliseconds from now until this request is answered with 200 */
export async function untilAnswered(port: number, request: Buffer): Promise<number> {
  const started = performance.now()
  while ((await sendOnce(port, request)) !== 200) {
    if (performance.now() - started > START_TIMEOUT_MS) throw new Error(`no token from port ${port}`)
    await sleep(POLL_INTERVAL_MS)
  }
  return performance.now() - started
}

/** Milliseconds from spawn to the first token of a second process beside the one that runs. */
export async function coldStart(command: Command, request: Buffer): Promise<number> {
  const started = performance.now()
  const server = await startServer(command)
  await untilAnswered(server.port, request)
  const elapsed = performance.now() - started
  await server.stop()
  return elapsed
}

async function stop(child: ChildProcess): Promise<void> {
  running.delete(child)
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), 12_000)
  await exited
  clearTimeout(timer)
}

/** CPU that a process and its children that have ended have spent, microseconds. */
function cpuOf(pid: number): number {
  const fields = procFile(pid, 'stat').split(') ')[1]?.split(' ') ?? []
  const [user = 0, system = 0, childrenUser = 0, childrenSystem = 0] = fields.slice(11, 15).map(Number)
  return (user + system + childrenUser + childrenSystem) * TICK_US
}

/** CPU of a process and all below it, microseconds. */
export function cpuOfFamily(pid: number): number {
  return familyOf(pid).reduce((sum, member) => sum + cpuOf(member), 0)
}

export function isRunning(pid: number): boolean {
  return procFile(pid, 'stat') !== ''
}

function residentOf(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(procFile(pid, 'status'))?.[1] ?? 0) / 1_024
}

/** A process and all below it. */
function familyOf(pid: number): number[] {
  const children = procFile(pid, `task/${pid}/children`).trim().split(' ').filter(Boolean)
  return [pid, ...children.flatMap(child => familyOf(Number(child)))]
}

/** Empty when the process has just gone. */
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
