import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { TrustedIssuer } from '../admin-api/admin-token.ts'
import { trustIdentityProvider } from '../admin-api/identity-provider.ts'
import type { Config } from '../config/config.ts'
import { loadMacKeys, type MacKeys } from '../credentials/mac-keys.ts'
import type { Sealing } from '../crypto/key-encryption.ts'
import type { Connection } from '../database/connect.ts'
import { codeOf, DatabaseUnavailable, isLoginRefused } from '../database/errors.ts'
import { openDevelopmentMode } from '../development/admin-issuer.ts'
import { banner } from '../development/banner.ts'
import { isLoopback } from '../http/loopback.ts'
import { TrustedIssuers } from '../issuer-keys/trusted-issuers.ts'
import { loadKeySet, type RotatingKeySet } from '../signing-keys/key-set.ts'
import { openConnection } from './connection.ts'
import { keySetOptions } from './key-set-options.ts'

/** The parts that every process of an instance needs. */
export interface Instance {
  connection: Connection
  sealing: Sealing
  macKeys: MacKeys
  keySet: RotatingKeySet
  /** The issuer of administrators' tokens. */
  trusted: TrustedIssuer
  /** The issuers of workload tokens. */
  trustedIssuers: TrustedIssuers
  /** Signs an admin token. Only in development mode. @param sites ids, or `*` for all */
  signToken: ((sites: readonly string[]) => Promise<string>) | undefined
}

interface InstanceOptions {
  config: Config
  log: Logger
  onConnectionChange: (connection: string, isUp: boolean) => void
  /** True in the process that migrates and prepares the database. The workers of an instance find it prepared. */
  migrates: boolean
}

/** Connects the database, migrates it, and loads the signing keys. The first start creates what does not exist yet. */
export async function openInstance({ config, log, onConnectionChange, migrates }: InstanceOptions): Promise<Instance> {
  const connection = await openConnection(config.database, {
    onIdleError: error => log.warn({ err: error }, 'an idle database connection was lost'),
    onConnectFailure: error =>
      log.warn({ code: codeOf(error), detail: error.message }, 'cannot connect to the database; retrying'),
    onConnectionChange: (name, isUp) => {
      onConnectionChange(name, isUp)
      if (isUp) log.info({ connection: name }, 'connected to the database')
      else log.warn({ connection: name }, 'lost the connection to the database')
    }
  })
  const isBehind = await waitForDatabase(connection, log)
  if (migrates) {
    if (isBehind) await migrate(connection, log)
    await connection.assertGranted()
    await warnOfRisks(config, connection, log)
  }
  const { identityProvider, sitesClaim } = config.admin
  const { trusted, signToken } =
    identityProvider === undefined
      ? await openDevelopmentMode(config.dataFolder, sitesClaim)
      : { trusted: trustIdentityProvider(identityProvider, log), signToken: undefined }
  const options = await keySetOptions(config, connection.background)
  // First: a KEY_ENCRYPTION_KEY that does not decrypt the signing keys ends the start, before a MAC key is made under it.
  const keySet = await loadKeySet(options)
  const trustedIssuers = new TrustedIssuers(config.federation, log)
  const macKeys = await loadMacKeys(options)
  return { connection, sealing: options.sealing, keySet, macKeys, trusted, trustedIssuers, signToken }
}

/** Returns a text that says how to try grantd, in development mode only. */
export async function startupBanner(
  { issuer, port }: Config,
  { signToken }: Pick<Instance, 'signToken'>
): Promise<string> {
  if (signToken === undefined) return ''
  return banner(isLoopback(issuer) ? issuer : `http://127.0.0.1:${port}`, await signToken(['*']))
}

async function migrate(connection: Connection, log: Logger): Promise<void> {
  const { applied, warnings } = await connection.migrate()
  log.info({ migrations: applied }, 'migrated the database')
  for (const warning of warnings) log.warn(warning)
}

async function warnOfRisks(config: Config, connection: Connection, log: Logger): Promise<void> {
  if (!(await connection.isRowLevelSecurityActive())) {
    log.warn('DATABASE_URL: the role is a superuser or has BYPASSRLS, so row-level security does not separate Sites')
  }
  for (const warning of config.warnings) log.warn(warning)
}

/** grantd waits this long for a database that is starting or has no free connection. */
const DATABASE_PATIENCE_MS = 10_000
const RETRY_INTERVAL_MS = 250

/** @returns whether the database needs a migration. @throws DatabaseUnavailable when it does not answer in time */
async function waitForDatabase(connection: Connection, log: Logger): Promise<boolean> {
  const deadline = performance.now() + DATABASE_PATIENCE_MS
  for (let isFirst = true; ; isFirst = false) {
    try {
      await connection.assertSuitable()
      return await connection.needsMigration()
    } catch (error) {
      if (!(error instanceof DatabaseUnavailable) || isLoginRefused(error.cause)) throw error
      if (performance.now() > deadline) throw error
      const detail = error.cause instanceof Error ? error.cause.message : undefined
      if (isFirst) log.warn({ detail }, 'the database is not available yet; retrying')
      await sleep(RETRY_INTERVAL_MS)
    }
  }
}
