import cluster from 'node:cluster'
import type { Logger } from 'pino'
import { type Config, processConfig } from '../config/config.ts'
import { DatabaseUnavailable } from '../database/errors.ts'
import { measureLanes } from '../database/metrics.ts'
import { isReachable } from '../database/site-scoped-pool.ts'
import { greeting } from '../development/banner.ts'
import { bufferedOutput, createLog } from '../http/log.ts'
import { isLoopback } from '../http/loopback.ts'
import { listenForScrapes } from '../metrics/listener.ts'
import { measureProcess } from '../metrics/process.ts'
import { Registry } from '../metrics/registry.ts'
import { measureDeadDeliveries } from '../notifications/metrics.ts'
import { measureRegistrations } from '../registrations/metrics.ts'
import type { Service } from '../runtime/http-server.ts'
import { type Foundation, layFoundation } from '../runtime/instance.ts'
import { obeyPrimary, tellPrimary, Workers } from '../runtime/workers.ts'

/** In-flight requests and buffered writes have this long; then the process ends all the same. */
const CLOSE_TIMEOUT_MS = cluster.isWorker ? 9_000 : 9_500

/** What closing takes so far: nothing before the service is up. */
let close = async (_isReplaced: boolean): Promise<void> => {}
/** What SIGHUP does; without workers there is nobody to take over meanwhile. */
let restart: (() => Promise<void>) | undefined
let isClosing = false
heedSignals()

try {
  await start(processConfig())
} catch (error) {
  await fail(`grantd does not start: ${explain(error)}`, explain(error))
}

/** The primary tells what is wrong with its workers. */
async function fail(message: string, fault: string): Promise<never> {
  if (cluster.isWorker) await tellPrimary({ fault })
  else process.stderr.write(`${message}\n`)
  process.exit(1)
}

/** Names the variable that is to blame, where one is. */
function explain(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  if (error instanceof DatabaseUnavailable) {
    const { cause } = error
    return `DATABASE_URL: ${error.message}: ${cause instanceof Error ? cause.message : String(cause)}`
  }
  // Who logs in, and to which database (SQLSTATE classes 28 and 3D).
  if ('code' in error && /^(28|3D)/.test(String(error.code))) return `DATABASE_URL: ${error.message}`
  if ('syscall' in error && (error.syscall === 'listen' || error.syscall === 'bind')) {
    return `HOST and PORT: ${error.message}`
  }
  if ('syscall' in error && 'path' in error) return `DATA_DIR: ${error.message}`
  return error.message
}

/** The door of `npm start`: configuration, database, migrations, keys, app or workers, listen, graceful close. */
async function start(config: Config): Promise<void> {
  const log = createLog(
    config.logLevel,
    bufferedOutput(config.workers > 1),
    cluster.isWorker ? { worker: process.pid } : null
  )
  const metrics = new Registry()
  measureProcess(metrics)
  // New workers have nobody to replace yet.
  if (config.workers > 1) restart = async () => {}
  if (cluster.isWorker) obeyPrimary(metrics, isReplaced => void shutDown(0, isReplaced))
  let service: Service | undefined
  const listener =
    cluster.isWorker || config.metricsPort === undefined
      ? undefined
      : await listenForScrapes(
          { host: config.host, port: config.metricsPort },
          {
            read: async () => (await service?.readMetrics()) ?? metrics.read(),
            isReady: async () => service !== undefined && !isClosing && (await service.isReady())
          }
        )
  const isServing = cluster.isWorker || config.workers === 1
  const [foundation, room] = await Promise.all([
    layFoundation({ config, log, onLaneChange: measureLanes(metrics), migrates: cluster.isPrimary }),
    // The greater part of the code is read while the database starts or is connected; a primary needs none of it.
    isServing ? import('../runtime/http-server.ts') : undefined
  ])
  if (cluster.isPrimary) {
    measureRegistrations(metrics, foundation.connection.background, Date.now)
    measureDeadDeliveries(metrics, foundation.connection.background)
  }
  close = async isReplaced => {
    log.info('closing')
    await service?.close(isReplaced)
    await listener?.close()
    await foundation.connection.close()
    if (cluster.isWorker) await tellPrimary({ metrics: await metrics.read() })
  }
  service =
    room === undefined
      ? await serveByWorkers(config.workers, foundation, log, metrics)
      : await room.serve(config, foundation, log, metrics)
  if (cluster.isPrimary) await welcome(config, foundation, log)
}

async function serveByWorkers(
  count: number,
  { connection }: Foundation,
  log: Logger,
  metrics: Registry
): Promise<Service> {
  const onGiveUp = async (error: Error): Promise<void> => {
    process.stderr.write(`grantd gives up: ${error.message}\n`)
    await shutDown(1)
  }
  const workers = new Workers({ count, log, metrics, onGiveUp })
  await workers.start()
  restart = () => workers.restart()
  return {
    isReady: async () => workers.areServing && (await isReachable(connection.background)),
    readMetrics: () => workers.readMetrics(),
    close: () => workers.close()
  }
}

async function welcome(config: Config, { signToken }: Foundation, log: Logger): Promise<void> {
  if (config.isProduction && isLoopback(config.issuer)) {
    log.warn({ issuer: config.issuer }, 'ISSUER names this machine: tokens and metadata are of no use elsewhere')
  }
  if (signToken === undefined) return
  const baseUrl = isLoopback(config.issuer) ? config.issuer : `http://127.0.0.1:${config.port}`
  process.stdout.write(greeting(baseUrl, await signToken(['*'])))
}

/**
 * The first signal lets requests finish and flushes; a second one, or too long a wait, ends the process at once.
 * Before anything else: the first process of a container ignores signals that it has no handler for.
 */
function heedSignals(): void {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      // A worker hears of Ctrl-C twice: from the terminal and from the primary.
      if (isClosing && cluster.isPrimary) process.exit(1)
      void shutDown()
    })
  }
  process.on('SIGHUP', () => {
    if (cluster.isWorker) return
    // From a terminal it means that nobody is there any more.
    if (restart === undefined || process.stdout.isTTY) void shutDown()
    else void restart()
  })
}

async function shutDown(exitCode = 0, isReplaced = false): Promise<void> {
  if (isClosing) return
  isClosing = true
  setTimeout(() => process.exit(1), CLOSE_TIMEOUT_MS).unref()
  try {
    await close(isReplaced)
    process.exit(exitCode)
  } catch (error) {
    process.stderr.write(`grantd did not close cleanly: ${error instanceof Error ? error.message : String(error)}\n`)
    process.exit(1)
  }
}
