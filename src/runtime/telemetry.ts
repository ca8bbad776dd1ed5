import type { Logger } from 'pino'
import type { Config } from '../config/config.ts'
import type { Connection } from '../database/connect.ts'
import { createLog } from '../http/log.ts'
import { LogOutput } from '../http/log-output.ts'
import { listenForScrapes, type MetricsListener } from '../metrics/listener.ts'
import { measureProcess } from '../metrics/process.ts'
import { Registry } from '../metrics/registry.ts'
import { measureDeadDeliveries } from '../notifications/metrics.ts'
import { measureRegistrations } from '../registrations/metrics.ts'

/** The log and the metrics of a process. */
export interface Telemetry {
  log: Logger
  metrics: Registry
  /** Prints a text among the lines of the log. */
  print: (text: string) => void
}

/** @param base fields of every log line */
export function openTelemetry(config: Config, base: Record<string, unknown> | null = null): Telemetry {
  const metrics = new Registry()
  const output = new LogOutput()
  measureProcess(metrics)
  metrics.reading(
    { name: 'grantd_log_lines_dropped_total', help: 'Log lines that could not be written.', type: 'counter' },
    () => output.dropped
  )
  return { log: createLog(config.logLevel, output, base), metrics, print: text => output.write(text) }
}

/** Serves `/metrics` and health checks on METRICS_PORT. Returns undefined when that is 0. */
export async function listenForOperators(
  { host, metricsPort }: Config,
  answers: Parameters<typeof listenForScrapes>[1]
): Promise<MetricsListener | undefined> {
  return metricsPort === undefined ? undefined : listenForScrapes({ host, port: metricsPort }, answers)
}

/** Measures what the database holds. Only one process of an instance does that. */
export function measureDatabase(metrics: Registry, { background }: Connection): void {
  measureRegistrations(metrics, background, Date.now)
  measureDeadDeliveries(metrics, background)
}
