import type { Config } from '../config/config.ts'
import { measurePipelinedConnections } from '../database/metrics.ts'
import { Readiness } from '../http/readiness.ts'
import { assertReadable } from '../registrations/repository.ts'
import { reloadOnHangUp } from './hang-up.ts'
import { openInstance, startupBanner } from './instance.ts'
import { Shutdown, shutDownOnSignals } from './shutdown.ts'
import { listenForOperators, measureDatabase, openTelemetry } from './telemetry.ts'
import { Workers } from './workers.ts'

/** Runs the first process of an instance with workers: it migrates, starts and replaces workers, and answers operators. */
export async function runPrimary(config: Config): Promise<void> {
  const shutdown = new Shutdown()
  shutDownOnSignals(shutdown)
  let workers: Workers | undefined
  // New workers read the files of secrets and keys. Workers that are still starting need no replacement.
  reloadOnHangUp(shutdown, () => void workers?.restart())
  const { log, metrics, print } = openTelemetry(config)
  const listener = await listenForOperators(config, {
    read: async () => (await workers?.readMetrics()) ?? metrics.read(),
    isReady: async () => workers?.areServing === true && !shutdown.isStarted && (await readiness.isReady())
  })
  const { connection, signToken } = await openInstance({
    config,
    log,
    onConnectionChange: measurePipelinedConnections(metrics),
    migrates: true
  })
  const readiness = new Readiness({
    check: () => assertReadable(connection.health),
    onFailure: error => log.warn({ err: error }, 'not ready: requests cannot be served now')
  })
  measureDatabase(metrics, connection)
  const started = new Workers({
    count: config.workers,
    log,
    metrics,
    onGiveUp: async error => {
      process.stderr.write(`grantd gives up: ${error.message}\n`)
      await shutdown.start(1)
    }
  })
  shutdown.onClose(async () => {
    log.info('shutting down')
    await started.close()
    await listener?.close()
    await connection.close()
  })
  await started.start()
  if (shutdown.isStarted) return
  workers = started
  print(await startupBanner(config, { signToken }))
}
