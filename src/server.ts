import { randomBytes } from 'node:crypto'
import path from 'node:path'
import type { FastifyInstance } from 'fastify'
import { openDevelopmentMode } from './admin/development.ts'
import { trustIdentityProvider } from './admin/identity-provider.ts'
import { keepSecretFile } from './admin/secret-file.ts'
import { buildApp } from './app.ts'
import { type Config, processConfig } from './config.ts'
import { connect } from './database/connect.ts'
import { greeting } from './greeting.ts'
import { Drain } from './http/drain.ts'
import { createLog } from './http/log.ts'
import { deriveKey } from './signing-keys/derive-key.ts'
import { loadKeySet } from './signing-keys/key-set.ts'

/** In-flight requests and buffered writes have this long; then the process ends all the same. */
const CLOSE_TIMEOUT_MS = 9_000

try {
  await start(processConfig())
} catch (error) {
  process.stderr.write(`grantd does not start: ${error instanceof Error ? error.message : String(error)}\n`)
  process.exit(1)
}

/** The door of `npm start`: configuration, database, migrations, keys, app, listen, graceful close. */
async function start(config: Config): Promise<void> {
  const log = createLog(config.logLevel)
  const connection = await connect({
    ...config.database,
    onIdleError: error => log.warn({ err: error }, 'an idle connection to the database broke')
  })
  const { db } = connection
  if (await connection.needsMigration()) log.info({ migrations: await connection.migrate() }, 'migrated')

  const { identityProvider, sitesClaim } = config.admin
  const admin =
    identityProvider === undefined
      ? await openDevelopmentMode(config.dataFolder, sitesClaim)
      : { trusted: trustIdentityProvider(identityProvider), signToken: undefined }
  const keyEncryptionKey = config.keyEncryptionKey ?? (await developmentKey(config.dataFolder))
  const keySet = await loadKeySet({
    db,
    sealingKey: deriveKey(keyEncryptionKey, 'signing keys'),
    algorithm: config.tokens.signingAlgorithm,
    now: Date.now
  })

  const drain = new Drain()
  const { trusted } = admin
  const app = await buildApp({ config, db, keyEncryptionKey, keySet, trusted, log, drain, now: Date.now })
  closeOnSignals(app, drain, connection.close)
  await app.listen({ host: config.host, port: config.port })
  if (admin.signToken === undefined) return
  process.stdout.write(greeting(config.issuer, config.dataFolder, await admin.signToken(['*'])))
}

async function developmentKey(dataFolder: string): Promise<Buffer> {
  const file = path.join(dataFolder, 'key-encryption-key')
  return Buffer.from(await keepSecretFile(file, async () => randomBytes(32).toString('base64url')), 'base64url')
}

/** The first signal lets requests finish and flushes; a second one, or too long a wait, ends the process at once. */
function closeOnSignals(app: FastifyInstance, drain: Drain, closeDatabase: () => Promise<void>): void {
  let isClosing = false
  const close = async (signal: NodeJS.Signals): Promise<void> => {
    if (isClosing) process.exit(1)
    isClosing = true
    app.log.info({ signal }, 'closing')
    setTimeout(() => process.exit(1), CLOSE_TIMEOUT_MS).unref()
    try {
      await drain.run(app.server)
      await app.close()
      await closeDatabase()
    } catch (error) {
      app.log.error({ err: error }, 'closing failed')
      process.exit(1)
    }
    process.exit(0)
  }
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => void close(signal))
}
