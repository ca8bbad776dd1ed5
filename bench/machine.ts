import { closeSync, fdatasyncSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { percentile } from './statistics.ts'

/** The machine that figures were taken on, and what it did before the bench began. */
export interface Machine {
  cpu: string
  cores: number
  memoryGiB: number
  system: string
  node: string
  /** Version of Postgres. */
  postgres: string
  /** Day of the run, ISO 8601. */
  date: string
  /** Share of the machine that other programs took while the bench waited. */
  busyShare: number
  /** Milliseconds until a written page is on the disk. A commit waits for one. */
  sync: { p50: number; p99: number }
}

/** Long enough to see other programs, short enough to wait for. */
const LOOK_MS = 2_000

/** Describes the machine, after it has looked for other load and measured the disk. */
export async function examineMachine(): Promise<Omit<Machine, 'postgres'>> {
  const before = machineCpu()
  await sleep(LOOK_MS)
  const { busyUs, idleUs } = since(before)
  return {
    cpu: os.cpus()[0]?.model.trim() ?? 'unknown',
    cores: os.availableParallelism(),
    memoryGiB: Math.round(os.totalmem() / 2 ** 30),
    system: `${os.type()} ${os.release()}`,
    node: process.version,
    date: new Date().toISOString().slice(0, 10),
    busyShare: busyUs / (busyUs + idleUs),
    sync: measureSync()
  }
}

/** Linux counts CPU in ticks of a hundredth of a second. */
export const TICK_US = 10_000

export interface MachineCpu {
  /** CPU that all programs have spent, and that the host took away, microseconds. */
  busyUs: number
  idleUs: number
}

/** Returns the CPU of the whole machine since it booted. */
export function machineCpu(): MachineCpu {
  const [first = ''] = readFileSync('/proc/stat', 'utf8').split('\n')
  const [user = 0, nice = 0, system = 0, idle = 0, ioWait = 0, interrupts = 0, softInterrupts = 0, stolen = 0] = first
    .split(/\s+/)
    .slice(1)
    .map(Number)
  return {
    busyUs: (user + nice + system + interrupts + softInterrupts + stolen) * TICK_US,
    idleUs: (idle + ioWait) * TICK_US
  }
}

export function since(before: MachineCpu): MachineCpu {
  const now = machineCpu()
  return { busyUs: now.busyUs - before.busyUs, idleUs: now.idleUs - before.idleUs }
}

/** As Postgres writes its log: pages of 8 KiB. */
const PAGE = Buffer.alloc(8_192, 1)
const SYNCS = 200

function measureSync(): Machine['sync'] {
  const file = path.join(os.tmpdir(), `grantd-bench-sync-${process.pid}`)
  const descriptor = openSync(file, 'w')
  const times = Float64Array.from({ length: SYNCS }, () => {
    const started = performance.now()
    writeSync(descriptor, PAGE, 0, PAGE.length, 0)
    fdatasyncSync(descriptor)
    return performance.now() - started
  }).sort()
  closeSync(descriptor)
  rmSync(file)
  return { p50: percentile(times, 0.5), p99: percentile(times, 0.99) }
}
