import type { Config } from '../config/config.ts'
import { measurePipelinedConnections } from '../database/metrics.ts'
import type { TrustedIssuers } from '../issuer-keys/trusted-issuers.ts'
import { reloadOnHangUp } from './hang-up.ts'
import type { HttpServer } from './http-server.ts'
import { openInstance, startupBanner } from './instance.ts'
import { Shutdown, shutDownOnSignals } from './shutdown.ts'
import { listenForOperators, measureDatabase, openTelemetry } from './telemetry.ts'

/** Runs an instance that is one process: it migrates, serves and answers operators. */
export async function runSingle(config: Config): Promise<void> {
  const shutdown = new Shutdown()
  shutDownOnSignals(shutdown)
  let issuers: TrustedIssuers | undefined
  // Without key files, SIGHUP is for the workers that a single process does not have.
  const hasKeyFiles = config.federation.issuers.some(({ keyFile }) => keyFile !== undefined)
  reloadOnHangUp(shutdown, hasKeyFiles ? () => issuers?.rereadFiles() : undefined)
  const { log, metrics, print } = openTelemetry(config)
  let server: HttpServer | undefined
  const listener = await listenForOperators(config, {
    read: () => metrics.read(),
    isReady: async () => server !== undefined && !shutdown.isStarted && (await server.isReady())
  })
  const [instance, { serve }] = await Promise.all([
    openInstance({ config, log, onConnectionChange: measurePipelinedConnections(metrics), migrates: true }),
    // Most of the code is loaded while the database starts or is connected.
    import('./http-server.ts')
  ])
  issuers = instance.trustedIssuers
  measureDatabase(metrics, instance.connection)
  shutdown.onClose(async () => {
    log.info('shutting down')
    await server?.close(false)
    await listener?.close()
    await instance.connection.close()
  })
  server = await serve({ config, instance, log, metrics })
  print(await startupBanner(config, instance))
}
