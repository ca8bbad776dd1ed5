import { closeSync, fdatasyncSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { spread } from './statistics.ts'

/** Where figures were taken: what a reader needs to place them. */
export interface Machine {
  cpu: string
  cores: number
  memoryGiB: number
  system: string
  node: string
  /** Over the last minute, before the bench began. */
  loadAverage: number
  /** Median of a write of one page that is on the disk, milliseconds. A commit waits for one. */
  syncMs: number
}

export function describeMachine(): Machine {
  return {
    cpu: os.cpus()[0]?.model.trim() ?? 'unknown',
    cores: os.availableParallelism(),
    memoryGiB: Math.round(os.totalmem() / 2 ** 30),
    system: `${os.type()} ${os.release()}`,
    node: process.version,
    loadAverage: os.loadavg()[0] ?? 0,
    syncMs: measureSync()
  }
}

/** Of Linux's clock ticks, a hundred make a second. */
export const TICK_US = 10_000

/** CPU that all programs of the machine have spent so far, and what its host took from it, microseconds. */
export function cpuOfMachine(): number {
  const [first = ''] = readFileSync('/proc/stat', 'utf8').split('\n')
  const [user = 0, nice = 0, system = 0, , , interrupts = 0, softInterrupts = 0, stolen = 0] = first
    .split(/\s+/)
    .slice(1)
    .map(Number)
  return (user + nice + system + interrupts + softInterrupts + stolen) * TICK_US
}

const PAGE = Buffer.alloc(8_192, 1)
const SYNCS = 50

function measureSync(): number {
  const file = path.join(os.tmpdir(), `grantd-bench-sync-${process.pid}`)
  const descriptor = openSync(file, 'w')
  const times = Array.from({ length: SYNCS }, () => {
    const started = performance.now()
    writeSync(descriptor, PAGE, 0, PAGE.length, 0)
    fdatasyncSync(descriptor)
    return performance.now() - started
  })
  closeSync(descriptor)
  rmSync(file)
  return spread(times).median
}
