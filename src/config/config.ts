import { readFileSync } from 'node:fs'
import path from 'node:path'
import { databaseFaults, servingFaults, servingWarnings } from './checks.ts'
import { postgresUrl } from './formats.ts'
import type { VariableParser } from './parsers.ts'
import { readVariables, type Variables } from './variables.ts'

export { SIGNING_ALGORITHMS, type SigningAlgorithm } from './variables.ts'

/**
 * The configuration of grantd, read from the environment once, at start, and frozen.
 * An empty variable counts as unset. A secret may also be given as `NAME_FILE`, the path of a file that holds it.
 */
export type Config = Readonly<ReturnType<typeof arrange>>

export type Environment = Readonly<Record<string, string | undefined>>

/** All faults of the configuration, one line each. Each line begins with the name of its variable. */
export class ConfigError extends Error {
  readonly faults: readonly string[]

  constructor(faults: readonly string[]) {
    super(`the configuration has ${faults.length} fault${faults.length === 1 ? '' : 's'}:\n  ${faults.join('\n  ')}`)
    this.name = 'ConfigError'
    this.faults = faults
  }
}

/** The use of the configuration. Migrations and audit commands only need the database. Calling another grantd needs nothing. */
export type Purpose = 'serve' | 'migrate' | 'audit' | 'call'

/** Reads the environment of this process. No other code does. @throws ConfigError with all faults at once */
export function processConfig(purpose: Purpose = 'serve'): Config {
  ignoreDriverVariables(process.env)
  return loadConfig(process.env, purpose)
}

/** Removes the variables that the Postgres driver and Postgres itself would read, because only DATABASE_URL counts. */
function ignoreDriverVariables(environment: Record<string, string | undefined>): void {
  for (const name of Object.keys(environment)) if (/^PG[A-Z]/.test(name)) delete environment[name]
}

/** @throws ConfigError with all faults at once */
export function loadConfig(environment: Environment, purpose: Purpose = 'serve'): Config {
  const faults = new Map<string, string>()
  const warnings: string[] = []
  const variables = readVariables((name, _description, parser) => {
    const value = environment[name]
    if (isServiceOfPlatform(name, value)) {
      warnings.push(
        `${name} is ignored, because Kubernetes sets it for a Service of that name. Rename the Service, or set enableServiceLinks: false`
      )
      return parser.parse(undefined)
    }
    try {
      return parser.parse(valueFor(environment, name, parser))
    } catch (error) {
      faults.set(name, `${name} must be ${error instanceof Error ? error.message : String(error)}`)
      return parser.parse(undefined)
    }
  })
  const config = arrange(variables, () => readDatabaseUrlAgain(environment))
  config.warnings.unshift(...warnings)
  // A malformed value is read as unset from here on. That it seems to be missing is not a second fault.
  const others = [
    ...(purpose === 'call' ? [] : databaseFaults(variables, config)),
    ...(purpose === 'serve' ? servingFaults(variables, config) : [])
  ].filter(fault => !faults.has(fault.slice(0, fault.indexOf(' '))))
  if (faults.size + others.length > 0) throw new ConfigError([...faults.values(), ...others])
  return Object.freeze(config)
}

/** Kubernetes sets `NAME_PORT=tcp://10.0.0.1:9464` for each Service, whatever reads it. */
function isServiceOfPlatform(name: string, value: string | undefined): boolean {
  return name.endsWith('_PORT') && /^(tcp|udp|sctp):\/\//.test(value ?? '')
}

/** Returns one row for each variable, for docs/configuration.md. `fallback` applies when the variable is unset. */
export function describeConfig(): { name: string; meaning: string; fallback: string; isSecret: boolean }[] {
  const rows: ReturnType<typeof describeConfig> = []
  readVariables((name, meaning, parser) => {
    rows.push({ name, meaning, fallback: parser.fallback, isSecret: parser.isSecret === true })
    return parser.parse(undefined)
  })
  return rows
}

function arrange(variables: Variables, rereadUrl: () => string | undefined) {
  const isProduction = variables.nodeEnv === 'production'
  const authority = `${variables.host.includes(':') ? `[${variables.host}]` : variables.host}:${variables.port}`
  const issuer = variables.issuer ?? `http://${authority}`
  return {
    isProduction,
    /** Probable mistakes, for the log. */
    warnings: servingWarnings(variables, { isProduction, issuer }),
    host: variables.host,
    port: variables.port,
    maxConnections: variables.maxConnections,
    keepAliveSeconds: variables.keepAliveSeconds,
    /** Undefined when metrics are turned off. */
    metricsPort: variables.metricsPort === 0 ? undefined : variables.metricsPort,
    workers: variables.workers,
    issuer,
    logLevel: variables.logLevel,
    dataFolder: path.resolve(variables.dataFolder),
    trustedProxies: variables.trustedProxies,
    /** Without a `url`, the embedded Postgres in `folder`. */
    database: {
      url: variables.databaseUrl,
      /** Reads DATABASE_URL_FILE again, whose password may have changed. Undefined when the file is not used or not valid. */
      rereadUrl,
      migrationUrl: variables.migrationDatabaseUrl ?? variables.databaseUrl,
      poolSize: variables.databasePoolSize,
      folder: path.resolve(variables.dataFolder, 'postgres')
    },
    /** 32 bytes. Undefined in development mode only. */
    keyEncryptionKey: variables.keyEncryptionKey,
    previousKeyEncryptionKey: variables.previousKeyEncryptionKey,
    keyRotationDays: variables.keyRotationDays,
    tokens: {
      signingAlgorithm: variables.signingAlgorithm,
      audience: variables.accessTokenAudience ?? issuer,
      ttlSeconds: variables.accessTokenTtlSeconds,
      failureLimit: variables.tokenFailureLimit,
      staleSeconds: variables.staleCredentialsSeconds,
      introspectionSites: variables.introspectionSites
    },
    discovery: {
      /** Undefined when any scope is supported. */
      scopesSupported: variables.scopesSupported,
      publishesAuthorizationEndpoint: variables.publishesAuthorizationEndpoint
    },
    registrations: {
      /** The only scopes that a registration can be given. Undefined for any. */
      scopesSupported: variables.scopesSupported,
      secretPrefix: variables.secretPrefix,
      maxTokenLifetimeSeconds: variables.accessTokenTtlSeconds,
      maxLifetimeDays: variables.maxLifetimeDays,
      maxPerSite: variables.maxPerSite,
      /** Issuers that the credential of a registration may name. */
      federatedIssuers: variables.federatedIssuers.map(({ issuer }) => issuer)
    },
    federation: {
      issuers: variables.federatedIssuers,
      /** May keys come over plain http from this machine? */
      allowsLoopback: !isProduction
    },
    unused: {
      /** Days without an exchange until the notice; 0 for none. */
      noticeDays: variables.unusedNoticeDays,
      /** Days until the registration is disabled; 0 for never. */
      disableDays: variables.unusedDisableDays
    },
    audit: {
      /** 0 keeps events forever. */
      retentionDays: variables.auditRetentionDays
    },
    admin: {
      sitesClaim: variables.adminSitesClaim,
      corsOrigins: variables.adminCorsOrigins,
      /** Undefined in development mode, where grantd signs administrators' tokens itself. */
      identityProvider:
        variables.adminIssuer === undefined
          ? undefined
          : {
              issuer: variables.adminIssuer,
              audience: variables.adminAudience ?? '',
              jwksUri: variables.adminJwksUri,
              /** May its keys come over plain http from this machine? */
              allowsLoopback: !isProduction
            }
    },
    notices: {
      /** Days before expiry, the earliest step first. */
      steps: variables.noticeDays,
      intervalSeconds: variables.noticeIntervalSeconds,
      /** 0 keeps notices forever. */
      retentionDays: variables.noticeRetentionDays,
      maxReceiversPerSite: variables.maxReceiversPerSite,
      /** Targets that webhooks may reach although they are not public. */
      allowed: { items: variables.noticeWebhookAllow, allowsPlainHttp: !isProduction },
      webhook:
        variables.noticeWebhookUrl === undefined
          ? undefined
          : { url: variables.noticeWebhookUrl, secrets: variables.noticeWebhookSecrets },
      mail:
        variables.smtpUrl === undefined
          ? undefined
          : { smtpUrl: variables.smtpUrl, from: variables.noticeMailFrom ?? '', domains: variables.noticeMailDomains },
      mailTo: variables.noticeMailTo
    },
    /** The grantd that commands call over HTTP. */
    called: {
      url: variables.calledUrl,
      token: variables.calledToken
    }
  }
}

function readDatabaseUrlAgain(environment: Environment): string | undefined {
  try {
    const text = environment['DATABASE_URL_FILE'] && valueFor(environment, 'DATABASE_URL', { isSecret: true })
    return text ? postgresUrl(text) : undefined
  } catch {
    // It may be read while it is being written. The next attempt reads it again.
    return undefined
  }
}

/** @throws Error whose message completes "NAME must be …" */
function valueFor(
  environment: Environment,
  name: string,
  { isSecret }: Pick<VariableParser<unknown>, 'isSecret'>
): string | undefined {
  const value = environment[name]?.trim() || undefined
  const file = isSecret ? environment[`${name}_FILE`]?.trim() || undefined : undefined
  if (file === undefined) return value
  if (value !== undefined) throw new Error(`given once, but both ${name} and ${name}_FILE are set`)
  try {
    return readFileSync(file, 'utf8').trim() || undefined
  } catch {
    throw new Error(`readable, but the file in ${name}_FILE is not`)
  }
}
