import { readFileSync } from 'node:fs'
import path from 'node:path'
import { isLoopback } from '../http/loopback.ts'
import {
  addressRange,
  anyText,
  host,
  issuer,
  type Kind,
  keyBytes,
  list,
  mailbox,
  noticeDays,
  oneOf,
  optional,
  origin,
  outgoingTarget,
  parsed,
  postgresUrl,
  processCount,
  secret,
  secretList,
  smtpUrl,
  text,
  webAddress,
  webhookSecret,
  wholeNumber
} from './parsers.ts'

/**
 * All of grantd's configuration, read from the environment once, at start, and frozen.
 * An unset and an empty variable are the same. A variable marked as a secret may also be given
 * as `NAME_FILE`, the path of a file that holds it.
 */
export type Config = Readonly<ReturnType<typeof arrange>>

export type SigningAlgorithm = (typeof SIGNING_ALGORITHMS)[number]

export type Environment = Readonly<Record<string, string | undefined>>

/** Every fault of the configuration, a line each, each naming its variable. */
export class ConfigError extends Error {
  readonly faults: readonly string[]

  constructor(faults: readonly string[]) {
    super(`the configuration has ${faults.length} fault${faults.length === 1 ? '' : 's'}:\n  ${faults.join('\n  ')}`)
    this.name = 'ConfigError'
    this.faults = faults
  }
}

/** What is going to be done with it: migrating and looking after the audit need the database alone. */
export type Purpose = 'serve' | 'migrate' | 'audit'

/** The one place where the process's environment is read. @throws ConfigError */
export function processConfig(purpose: Purpose = 'serve'): Config {
  return loadConfig(process.env, purpose)
}

/** @throws ConfigError with all faults at once */
export function loadConfig(environment: Environment, purpose: Purpose = 'serve'): Config {
  const faults = new Map<string, string>()
  const values = variables((name, _meaning, kind) => {
    try {
      return kind.read(textOf(environment, name, kind))
    } catch (error) {
      faults.set(name, `${name} must be ${error instanceof Error ? error.message : String(error)}`)
      return kind.read(undefined)
    }
  })
  const config = arrange(values)
  // A bad value reads as none from here on; that it seems to be missing is not a second fault.
  const between = [
    ...databaseFaults(values, config),
    ...(purpose === 'serve' ? servingFaults(values, config) : [])
  ].filter(fault => !faults.has(fault.slice(0, fault.indexOf(' '))))
  if (faults.size + between.length > 0) throw new ConfigError([...faults.values(), ...between])
  return Object.freeze(config)
}

/** A row per variable, for the README. `fallback` is what holds when it is unset. */
export function describeConfig(): { name: string; meaning: string; fallback: string; isSecret: boolean }[] {
  const rows: ReturnType<typeof describeConfig> = []
  variables((name, meaning, kind) => {
    rows.push({ name, meaning, fallback: kind.fallback, isSecret: kind.isSecret === true })
    return kind.read(undefined)
  })
  return rows
}

const SIGNING_ALGORITHMS = ['ES256', 'RS256', 'EdDSA'] as const
const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const

type Read = <T>(name: string, meaning: string, kind: Kind<T>) => T

function variables(read: Read) {
  return {
    host: read('HOST', 'address to listen on', parsed(host, '127.0.0.1')),
    port: read('PORT', 'port to listen on', wholeNumber(3000, 1, 65_535)),
    maxConnections: read(
      'MAX_CONNECTIONS',
      'connections open at once; one more is closed unanswered',
      wholeNumber(10_000, 1, 1_000_000)
    ),
    metricsPort: read('METRICS_PORT', 'port of `/metrics`, on HOST; `0` for none', wholeNumber(9464, 0, 65_535)),
    workers: read('WORKERS', 'processes that serve on PORT; `auto` is one for each core', processCount(1, 256)),
    issuer: read(
      'ISSUER',
      '`iss` of access tokens and base of the published URLs',
      optional(issuer, '`http://HOST:PORT`')
    ),
    databaseUrl: read(
      'DATABASE_URL',
      'Postgres 14–18 to serve from; of several hosts, comma-separated, the one that takes writes',
      secret(postgresUrl, 'embedded, in DATA_DIR')
    ),
    migrationDatabaseUrl: read(
      'MIGRATION_DATABASE_URL',
      'the same database, as the owner of its schema',
      secret(postgresUrl, 'DATABASE_URL')
    ),
    databasePoolSize: read(
      'DATABASE_POOL_SIZE',
      'connections of one process, beside two for the token endpoint: a quarter for background work, the rest for administrators',
      wholeNumber(10, 2, 100)
    ),
    dataFolder: read('DATA_DIR', 'embedded Postgres and the keys of development mode', text('./data')),
    nodeEnv: read(
      'NODE_ENV',
      '`production` refuses to start with what is only for development',
      oneOf(['development', 'test', 'production'], 'development')
    ),
    logLevel: read('LOG_LEVEL', 'least level that is logged', oneOf(LOG_LEVELS, 'info')),
    keyEncryptionKey: read(
      'KEY_ENCRYPTION_KEY',
      'seals the signing keys in the database: 32 random bytes in base64url, base64 or hex, the same for every instance',
      secret(keyBytes, 'made in DATA_DIR, in development mode only')
    ),
    previousKeyEncryptionKey: read(
      'KEY_ENCRYPTION_KEY_PREVIOUS',
      'another KEY_ENCRYPTION_KEY that opens what it has sealed, while that one is being changed',
      secret(keyBytes, 'none')
    ),
    keyRotationDays: read(
      'KEY_ROTATION_DAYS',
      'days that a signing key signs before the next takes over; `0` for no end',
      wholeNumber(90, 0, 3_650)
    ),
    signingAlgorithm: read('SIGNING_ALGORITHM', '`alg` of access tokens', oneOf(SIGNING_ALGORITHMS, 'ES256')),
    accessTokenAudience: read('ACCESS_TOKEN_AUDIENCE', '`aud` of access tokens', optional(anyText, 'ISSUER')),
    accessTokenTtlSeconds: read(
      'ACCESS_TOKEN_TTL_SECONDS',
      'longest life of an access token, in seconds',
      wholeNumber(900, 1, 3_600)
    ),
    tokenFailureLimit: read(
      'TOKEN_FAILURE_LIMIT',
      'failed token requests from one source for one client in a minute, before 429',
      wholeNumber(100, 1, 1_000_000)
    ),
    staleCredentialsSeconds: read(
      'STALE_CREDENTIALS_SECONDS',
      'how long after an exchange a client is served from memory while the database does not answer; `0` for never',
      wholeNumber(60, 0, 3_600)
    ),
    secretPrefix: read(
      'CLIENT_SECRET_PREFIX',
      'start of new Client secrets, for secret scanners',
      text('grantd_', /^[A-Za-z][A-Za-z0-9_]{5,31}$/, '6 to 32 letters, digits or underscores, a letter first')
    ),
    maxLifetimeDays: read(
      'MAX_REGISTRATION_LIFETIME_DAYS',
      'furthest `expiresAt`, in days from now',
      wholeNumber(730, 1, 36_500)
    ),
    maxPerSite: read(
      'MAX_REGISTRATIONS_PER_SITE',
      'registrations that one Site can hold',
      wholeNumber(1_000, 1, 1_000_000)
    ),
    auditRetentionDays: read(
      'AUDIT_RETENTION_DAYS',
      'how long `npm run audit:prune` leaves audit events, in days; `0` for ever',
      wholeNumber(0, 0, 36_500)
    ),
    adminIssuer: read('ADMIN_ISSUER', "issuer of administrators' tokens", optional(issuer, 'development mode')),
    adminAudience: read(
      'ADMIN_AUDIENCE',
      '`aud` they must carry; required with ADMIN_ISSUER',
      optional(anyText, 'none')
    ),
    adminJwksUri: read(
      'ADMIN_JWKS_URI',
      'their public keys',
      optional(webAddress, "ADMIN_ISSUER's discovery document")
    ),
    adminSitesClaim: read(
      'ADMIN_SITES_CLAIM',
      'claim that lists the Sites the caller administers, `*` for all',
      text('site_admin')
    ),
    adminCorsOrigins: read(
      'ADMIN_CORS_ORIGINS',
      'origins of the admin UI, comma-separated',
      list(origin, 'none: CORS is off')
    ),
    trustedProxies: read(
      'TRUSTED_PROXIES',
      'proxies whose X-Forwarded-For tells the source: addresses or CIDR ranges, comma-separated',
      list(addressRange, 'none')
    ),
    noticeDays: read(
      'NOTICE_DAYS',
      'when to tell of an expiry, in days before it, `0` at it, comma-separated',
      parsed(noticeDays, '30,7,0')
    ),
    noticeIntervalSeconds: read(
      'NOTICE_INTERVAL_SECONDS',
      'how often notices that are due are looked for',
      wholeNumber(15, 1, 3_600)
    ),
    noticeRetentionDays: read(
      'NOTICE_RETENTION_DAYS',
      'how long notices stay of an expiry that is past and of no registration now, in days; `0` for ever',
      wholeNumber(400, 0, 36_500)
    ),
    noticeWebhookUrl: read(
      'NOTICE_WEBHOOK_URL',
      'webhook that gets the notices of all Sites',
      optional(webAddress, 'none')
    ),
    noticeWebhookSecrets: read(
      'NOTICE_WEBHOOK_SECRET',
      'signs for it (Standard Webhooks, `whsec_…`); two, comma-separated, while it is being replaced',
      secretList(webhookSecret, 2, 'none')
    ),
    noticeWebhookAllow: read(
      'NOTICE_WEBHOOK_ALLOW',
      'where webhooks may go though it is not public: host names, addresses or CIDR ranges, each with all its ports, comma-separated',
      list(outgoingTarget, 'none')
    ),
    maxReceiversPerSite: read(
      'MAX_NOTICE_RECEIVERS_PER_SITE',
      'notice receivers that one Site can have',
      wholeNumber(20, 1, 1_000)
    ),
    smtpUrl: read(
      'SMTP_URL',
      'server that takes mails; a password in it goes out by TLS only',
      secret(smtpUrl, 'none: no mail')
    ),
    noticeMailFrom: read('NOTICE_MAIL_FROM', 'sender of mails; required with SMTP_URL', optional(mailbox, 'none')),
    noticeMailTo: read(
      'NOTICE_MAIL_TO',
      'who gets the notices of all Sites by mail, comma-separated',
      list(mailbox, 'none')
    )
  }
}

type Values = ReturnType<typeof variables>

function arrange(values: Values) {
  const authority = `${values.host.includes(':') ? `[${values.host}]` : values.host}:${values.port}`
  const issuer = values.issuer ?? `http://${authority}`
  const isProduction = values.nodeEnv === 'production'
  return {
    isProduction,
    host: values.host,
    port: values.port,
    maxConnections: values.maxConnections,
    /** Undefined for no metrics. */
    metricsPort: values.metricsPort === 0 ? undefined : values.metricsPort,
    workers: values.workers,
    issuer,
    logLevel: values.logLevel,
    dataFolder: path.resolve(values.dataFolder),
    trustedProxies: values.trustedProxies,
    /** Without a `url`, the embedded Postgres of `dataFolder`. */
    database: {
      url: values.databaseUrl,
      migrationUrl: values.migrationDatabaseUrl ?? values.databaseUrl,
      poolSize: values.databasePoolSize,
      folder: path.resolve(values.dataFolder, 'postgres')
    },
    /** 32 bytes; may be missing in development mode. */
    keyEncryptionKey: values.keyEncryptionKey,
    previousKeyEncryptionKey: values.previousKeyEncryptionKey,
    keyRotationDays: values.keyRotationDays,
    tokens: {
      signingAlgorithm: values.signingAlgorithm,
      audience: values.accessTokenAudience ?? issuer,
      ttlSeconds: values.accessTokenTtlSeconds,
      failureLimit: values.tokenFailureLimit,
      staleSeconds: values.staleCredentialsSeconds
    },
    registrations: {
      secretPrefix: values.secretPrefix,
      maxLifetimeDays: values.maxLifetimeDays,
      maxPerSite: values.maxPerSite
    },
    audit: {
      /** 0 keeps events for ever. */
      retentionDays: values.auditRetentionDays
    },
    admin: {
      sitesClaim: values.adminSitesClaim,
      corsOrigins: values.adminCorsOrigins,
      /** Missing in development mode, where grantd signs administrators' tokens itself. */
      identityProvider:
        values.adminIssuer === undefined
          ? undefined
          : {
              issuer: values.adminIssuer,
              audience: values.adminAudience ?? '',
              jwksUri: values.adminJwksUri,
              /** May its keys come by plain http from this machine? */
              allowsLoopback: !isProduction
            }
    },
    notices: {
      /** Days before expiry, the first to come first. */
      steps: values.noticeDays,
      intervalSeconds: values.noticeIntervalSeconds,
      /** 0 keeps notices for ever. */
      retentionDays: values.noticeRetentionDays,
      maxReceiversPerSite: values.maxReceiversPerSite,
      /** Where webhooks may go beside public addresses. */
      allowed: { items: values.noticeWebhookAllow, allowsPlainHttp: !isProduction },
      webhook:
        values.noticeWebhookUrl === undefined
          ? undefined
          : { url: values.noticeWebhookUrl, secrets: values.noticeWebhookSecrets },
      mail: values.smtpUrl === undefined ? undefined : { smtpUrl: values.smtpUrl, from: values.noticeMailFrom ?? '' },
      mailTo: values.noticeMailTo
    }
  }
}

function databaseFaults(values: Values, { isProduction }: ReturnType<typeof arrange>): string[] {
  return isProduction && values.databaseUrl === undefined ? ['DATABASE_URL must be set in production'] : []
}

/** What no variable shows by itself. */
function servingFaults(values: Values, { isProduction, issuer, admin }: ReturnType<typeof arrange>): string[] {
  const faults: string[] = []
  if (values.metricsPort === values.port) {
    faults.push('METRICS_PORT must differ from PORT, which callers reach, or be 0 for no metrics')
  }
  if (values.adminIssuer !== undefined && values.adminAudience === undefined) {
    faults.push('ADMIN_AUDIENCE must be set when ADMIN_ISSUER is')
  }
  if (values.adminIssuer === undefined && values.adminJwksUri !== undefined) {
    faults.push('ADMIN_ISSUER must be set when ADMIN_JWKS_URI is')
  }
  if (admin.identityProvider?.issuer === issuer) {
    faults.push('ADMIN_ISSUER must differ from ISSUER: a token of the token endpoint is never an admin token')
  }
  for (const [name, value] of [
    ['ADMIN_ISSUER', values.adminIssuer],
    ['ADMIN_JWKS_URI', values.adminJwksUri]
  ] as const) {
    if (value === undefined || value.startsWith('https:')) continue
    if (isProduction || !isLoopback(value)) {
      faults.push(`${name} must be an https URL; plain http only for a loopback host outside production`)
    }
  }
  faults.push(...noticeFaults(values, isProduction))
  if (isProduction) {
    if (values.keyEncryptionKey === undefined) faults.push('KEY_ENCRYPTION_KEY must be set in production')
    if (values.adminIssuer === undefined) {
      faults.push('ADMIN_ISSUER must be set in production: development mode signs admin tokens itself')
      if (values.adminAudience === undefined) faults.push('ADMIN_AUDIENCE must be set in production')
    }
    if (!issuer.startsWith('https:') && !isLoopback(issuer)) {
      faults.push('ISSUER must be an https URL in production (RFC 8414 §2)')
    }
  }
  return faults
}

function noticeFaults(values: Values, isProduction: boolean): string[] {
  const faults: string[] = []
  const { noticeWebhookUrl: url, smtpUrl, noticeMailFrom, noticeMailTo } = values
  if (url !== undefined && values.noticeWebhookSecrets.length === 0) {
    faults.push('NOTICE_WEBHOOK_SECRET must be set when NOTICE_WEBHOOK_URL is')
  }
  if (url !== undefined && !url.startsWith('https:') && (isProduction || !isLoopback(url))) {
    faults.push('NOTICE_WEBHOOK_URL must be an https URL; plain http only for a loopback host outside production')
  }
  if (smtpUrl !== undefined && noticeMailFrom === undefined) {
    faults.push('NOTICE_MAIL_FROM must be set when SMTP_URL is')
  }
  if (smtpUrl === undefined && noticeMailTo.length > 0) faults.push('SMTP_URL must be set when NOTICE_MAIL_TO is')
  return faults
}

function textOf(environment: Environment, name: string, kind: Kind<unknown>): string | undefined {
  const value = environment[name]?.trim() || undefined
  const file = kind.isSecret ? environment[`${name}_FILE`]?.trim() || undefined : undefined
  if (file === undefined) return value
  if (value !== undefined) throw new Error(`given once: ${name} and ${name}_FILE are both set`)
  try {
    return readFileSync(file, 'utf8').trim() || undefined
  } catch {
    throw new Error(`readable: the file that ${name}_FILE names is not`)
  }
}
