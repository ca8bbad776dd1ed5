import type { Config } from '../config/config.ts'
import { measurePipelinedConnections } from '../database/metrics.ts'
import type { HttpServer } from './http-server.ts'
import { openInstance } from './instance.ts'
import { handleOrders, report } from './primary-channel.ts'
import { Shutdown } from './shutdown.ts'
import { openTelemetry } from './telemetry.ts'

/** Less than the primary waits for its workers. */
const SHUTDOWN_TIMEOUT_MS = 9_000

/** Runs one worker of an instance: it serves. Its primary migrates, answers operators and ends it. */
export async function runWorker(config: Config): Promise<void> {
  const shutdown = new Shutdown(SHUTDOWN_TIMEOUT_MS)
  // A terminal sends Ctrl-C to the worker and to its primary, which sends an order too. The second has no effect.
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => void shutdown.start())
  // Only the primary replaces workers.
  process.on('SIGHUP', () => {})
  const { log, metrics } = openTelemetry(config, { worker: process.pid })
  handleOrders({
    readMetrics: () => metrics.read(),
    close: isReplaced => void shutdown.start(0, isReplaced)
  })
  let server: HttpServer | undefined
  const [instance, { serve }] = await Promise.all([
    openInstance({ config, log, onConnectionChange: measurePipelinedConnections(metrics), migrates: false }),
    // Most of the code is loaded while the database is connected.
    import('./http-server.ts')
  ])
  shutdown.onClose(async isReplaced => {
    log.info('shutting down')
    await server?.close(isReplaced)
    await instance.connection.close()
    await report({ metrics: await metrics.read() })
  })
  server = await serve({ config, instance, log, metrics })
}
