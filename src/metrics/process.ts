import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { Registry } from './registry.ts'

const LAG_RESOLUTION_MS = 20
const NS = 1e9
const US = 1e6

/** Measures the process, under the names that dashboards for Node use. */
export function measureProcess(registry: Registry): void {
  const { version }: { version: string } = JSON.parse(
    readFileSync(path.join(import.meta.dirname, '../../package.json'), 'utf8')
  )
  registry.reading(
    { name: 'grantd_build_info', help: 'Always 1. The labels hold the versions of grantd and Node.', across: 'max' },
    () => 1,
    { version, node: process.version }
  )
  registry.reading({ name: 'grantd_processes', help: 'Processes of this instance that these metrics cover.' }, () => 1)
  registry.reading({ name: 'process_cpu_seconds_total', help: 'CPU time spent.', type: 'counter' }, () => {
    const { user, system } = process.cpuUsage()
    return (user + system) / US
  })
  registry.reading({ name: 'process_resident_memory_bytes', help: 'Resident memory.' }, () => process.memoryUsage.rss())
  registry.reading(
    { name: 'process_start_time_seconds', help: 'Start, seconds since the epoch.', across: 'max' },
    () => performance.timeOrigin / 1_000
  )
  registry.reading({ name: 'process_open_fds', help: 'Open file descriptors.' }, countFileDescriptors)
  registry.reading(
    { name: 'nodejs_heap_size_used_bytes', help: 'JavaScript heap in use.' },
    () => process.memoryUsage().heapUsed
  )
  measureEventLoop(registry)
}

/** Measures how late timers fire. */
function measureEventLoop(registry: Registry): void {
  const delay = monitorEventLoopDelay({ resolution: LAG_RESOLUTION_MS })
  delay.enable()
  // Node measures the time from one tick of its timer to the next.
  const lag = (name: string, help: string, read: () => number) =>
    registry.reading({ name, help, across: 'max' }, () => Math.max(0, read() / NS - LAG_RESOLUTION_MS / 1_000))
  lag('nodejs_eventloop_lag_p50_seconds', 'Median lag of the event loop.', () => delay.percentile(50))
  lag('nodejs_eventloop_lag_p99_seconds', '99th percentile of the lag of the event loop.', () => delay.percentile(99))
  lag('nodejs_eventloop_lag_max_seconds', 'Longest lag of the event loop.', () => {
    const { max } = delay
    delay.reset()
    return max
  })
}

/** Linux lists them in a folder. Elsewhere they are unknown. */
function countFileDescriptors(): number | undefined {
  try {
    return readdirSync('/proc/self/fd').length
  } catch {
    return undefined
  }
}
