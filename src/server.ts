import { openDevelopmentMode } from './admin/development.ts'
import { trustIdentityProvider } from './admin/identity-provider.ts'
import { buildApp } from './app.ts'
import { type Config, processConfig } from './config.ts'
import { connect } from './database/connect.ts'
import { DatabaseUnavailable } from './database/errors.ts'
import { greeting } from './greeting.ts'
import { Drain } from './http/drain.ts'
import { bufferedOutput, createLog } from './http/log.ts'
import { isLoopback } from './http/loopback.ts'
import { openKeyStore } from './key-store.ts'
import { loadKeySet } from './signing-keys/key-set.ts'

/** In-flight requests and buffered writes have this long; then the process ends all the same. */
const CLOSE_TIMEOUT_MS = 9_000

/** What closing takes so far: nothing before the app is up. */
let close = async (): Promise<void> => {}
closeOnSignals()

try {
  await start(processConfig())
} catch (error) {
  process.stderr.write(`grantd does not start: ${explain(error)}\n`)
  process.exit(1)
}

/** Names the variable that is to blame, where one is. */
function explain(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  if (error instanceof DatabaseUnavailable) {
    const { cause } = error
    return `DATABASE_URL: ${error.message}: ${cause instanceof Error ? cause.message : String(cause)}`
  }
  if ('syscall' in error && error.syscall === 'listen') return `HOST and PORT: ${error.message}`
  if ('syscall' in error && 'path' in error) return `DATA_DIR: ${error.message}`
  return error.message
}

/** The door of `npm start`: configuration, database, migrations, keys, app, listen, graceful close. */
async function start(config: Config): Promise<void> {
  const log = createLog(config.logLevel, bufferedOutput())
  const connection = await connect({
    ...config.database,
    onIdleError: error => log.warn({ err: error }, 'an idle connection to the database broke'),
    onLaneChange: (lane, isUp) => {
      if (isUp) log.info({ lane }, 'connected to the database')
      else log.warn({ lane }, 'lost the database')
    }
  })
  const { db, lookups, lastUses } = connection
  if (await connection.needsMigration()) log.info({ migrations: await connection.migrate() }, 'migrated')

  const { identityProvider, sitesClaim } = config.admin
  const { trusted, signToken } =
    identityProvider === undefined
      ? await openDevelopmentMode(config.dataFolder, sitesClaim)
      : { trusted: trustIdentityProvider(identityProvider) }
  const keyStore = await openKeyStore(config, db)
  const keySet = await loadKeySet(keyStore)

  const drain = new Drain()
  const app = await buildApp({
    config,
    db,
    lookups,
    lastUses,
    sealing: keyStore.sealing,
    keySet,
    trusted,
    log,
    drain,
    now: Date.now
  })
  close = async () => {
    log.info('closing')
    await drain.run(app.server)
    await app.close()
    await connection.close()
  }
  await app.listen({ host: config.host, port: config.port })
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
function closeOnSignals(): void {
  let isClosing = false
  const onSignal = async (): Promise<void> => {
    if (isClosing) process.exit(1)
    isClosing = true
    setTimeout(() => process.exit(1), CLOSE_TIMEOUT_MS).unref()
    try {
      await close()
      process.exit(0)
    } catch (error) {
      process.stderr.write(`grantd did not close cleanly: ${error instanceof Error ? error.message : String(error)}\n`)
      process.exit(1)
    }
  }
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => void onSignal())
}
