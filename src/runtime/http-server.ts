import type { Logger } from 'pino'
import { buildApp } from '../app.ts'
import type { Config } from '../config/config.ts'
import { isReachable } from '../database/site-scoped-pool.ts'
import { Drain } from '../http/drain.ts'
import type { Family, Registry } from '../metrics/registry.ts'
import type { Foundation } from './instance.ts'

/** What serves callers: this process, or workers of it. */
export interface Service {
  /** Should it get requests? */
  isReady: () => Promise<boolean>
  readMetrics: () => Promise<Family[]>
  /** Lets requests finish, and flushes. @param isReplaced does another process serve on its port already? */
  close: (isReplaced: boolean) => Promise<void>
}

/** Serves from this process. @throws Error of `listen` */
export async function serve(
  config: Config,
  { connection, ...foundation }: Foundation,
  log: Logger,
  metrics: Registry
): Promise<Service> {
  const drain = new Drain()
  const app = await buildApp({ ...foundation, ...connection, config, log, metrics, drain, now: Date.now })
  await app.listen({ host: config.host, port: config.port })
  return {
    isReady: async () => drain.takesClients && (await isReachable(connection.lookups)),
    readMetrics: () => metrics.read(),
    close: async isReplaced => {
      await drain.run(app.server, isReplaced)
      await app.close()
    }
  }
}
