import type { Logger } from 'pino'
import { buildApp } from '../app.ts'
import type { Config } from '../config/config.ts'
import { measurePool } from '../database/metrics.ts'
import { Drain } from '../http/drain.ts'
import type { Registry } from '../metrics/registry.ts'
import type { Instance } from './instance.ts'

/** The server that callers reach on PORT. */
export interface HttpServer {
  /** Should it receive requests now? */
  isReady: () => Promise<boolean>
  /** Lets requests finish, and writes what is buffered. @param isReplaced does another process serve on its port already? */
  close: (isReplaced: boolean) => Promise<void>
}

interface ServeOptions {
  config: Config
  instance: Instance
  log: Logger
  metrics: Registry
}

/** Listens on PORT. @throws Error of `listen` */
export async function serve({ config, instance, log, metrics }: ServeOptions): Promise<HttpServer> {
  const { connection, ...parts } = instance
  measurePool(metrics, 'administration', connection.tables.connections)
  const drain = new Drain()
  const app = await buildApp({ ...parts, ...connection, config, log, metrics, drain, now: Date.now })
  await app.listen({ host: config.host, port: config.port })
  return {
    isReady: () => app.isReady(),
    close: async isReplaced => {
      await drain.run(isReplaced)
      await app.close()
    }
  }
}
