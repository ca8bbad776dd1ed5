import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { TrustedIssuer } from '../admin-api/admin-token.ts'
import { trustIdentityProvider } from '../admin-api/identity-provider.ts'
import type { Config } from '../config/config.ts'
import type { Sealing } from '../crypto/key-encryption.ts'
import { type Connection, connect } from '../database/connect.ts'
import { DatabaseUnavailable } from '../database/errors.ts'
import { openDevelopmentMode } from '../development/admin-issuer.ts'
import { loadKeySet, type TendedKeySet } from '../signing-keys/key-set.ts'
import { openKeyStore } from './key-store.ts'

/** What every process of an instance stands on. */
export interface Foundation {
  connection: Connection
  sealing: Sealing
  keySet: TendedKeySet
  /** Whose tokens administrators bring. */
  trusted: TrustedIssuer
  /** In development mode alone. @param sites ids, or `*` for all */
  signToken: ((sites: readonly string[]) => Promise<string>) | undefined
}

interface FoundationNeeds {
  config: Config
  log: Logger
  onLaneChange: (lane: string, isUp: boolean) => void
  /** Workers find migrated what their primary has migrated. */
  migrates: boolean
}

/** Connects the database, migrates it and loads the keys; makes what isn't there yet. */
export async function layFoundation({ config, log, onLaneChange, migrates }: FoundationNeeds): Promise<Foundation> {
  const connection = await connect({
    ...config.database,
    onIdleError: error => log.warn({ err: error }, 'an idle connection to the database broke'),
    onLaneChange: (lane, isUp) => {
      onLaneChange(lane, isUp)
      if (isUp) log.info({ lane }, 'connected to the database')
      else log.warn({ lane }, 'lost the database')
    }
  })
  const isBehind = await needsMigration(connection, log)
  if (migrates && isBehind) {
    log.info({ migrations: await connection.migrate() }, 'migrated')
  }
  if (migrates && !(await connection.isWalled())) {
    log.warn('DATABASE_URL: this login is a superuser or has BYPASSRLS, so the database keeps no Site from another')
  }
  const { identityProvider, sitesClaim } = config.admin
  const { trusted, signToken } =
    identityProvider === undefined
      ? await openDevelopmentMode(config.dataFolder, sitesClaim)
      : { trusted: trustIdentityProvider(identityProvider), signToken: undefined }
  const keyStore = await openKeyStore(config, connection.background)
  return { connection, sealing: keyStore.sealing, keySet: await loadKeySet(keyStore), trusted, signToken }
}

/** A database that starts as we do, or has no connection free just now, is waited for this long. */
const PATIENCE_MS = 10_000
const PAUSE_MS = 250

/** @throws DatabaseUnavailable when it is not there in time */
async function needsMigration(connection: Connection, log: Logger): Promise<boolean> {
  const deadline = performance.now() + PATIENCE_MS
  for (let isFirst = true; ; isFirst = false) {
    try {
      return await connection.needsMigration()
    } catch (error) {
      if (!(error instanceof DatabaseUnavailable) || performance.now() > deadline) throw error
      const detail = error.cause instanceof Error ? error.cause.message : undefined
      if (isFirst) log.warn({ detail }, 'the database is not available yet; trying again')
      await sleep(PAUSE_MS)
    }
  }
}
