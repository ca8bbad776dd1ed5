import {
  addressRange,
  anyText,
  bearerToken,
  federatedIssuer,
  host,
  issuer,
  keyBytes,
  mailbox,
  mailDomain,
  noticeDays,
  origin,
  outgoingTarget,
  ownIssuer,
  postgresUrl,
  scopeCatalogue,
  siteId,
  smtpUrl,
  webAddress,
  webhookSecret
} from './formats.ts'
import {
  list,
  oneOf,
  onOrOff,
  optional,
  processCount,
  secret,
  secretList,
  text,
  type VariableParser,
  wholeNumber,
  withDefault,
  zeroOr
} from './parsers.ts'

export type SigningAlgorithm = (typeof SIGNING_ALGORITHMS)[number]

export const SIGNING_ALGORITHMS = ['ES256', 'RS256', 'EdDSA'] as const
const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const

/** Reads one variable. `description` is for docs/configuration.md. */
type Read = <T>(name: string, description: string, parser: VariableParser<T>) => T

/** All variables, one row each. */
export function readVariables(read: Read) {
  return {
    host: read('HOST', 'Address to listen on.', withDefault(host, '127.0.0.1')),
    port: read('PORT', 'Port to listen on.', wholeNumber(3000, 1, 65_535)),
    maxConnections: read(
      'MAX_CONNECTIONS',
      'Maximum number of open connections of an instance. One source may hold half of them, unless it is in TRUSTED_PROXIES. Further connections are closed without an answer.',
      wholeNumber(10_000, 1, 1_000_000)
    ),
    keepAliveSeconds: read(
      'KEEP_ALIVE_SECONDS',
      'How long a connection stays open between two requests, in seconds. It must be longer than the idle timeout of the load balancer in front of grantd.',
      wholeNumber(72, 1, 3_600)
    ),
    metricsPort: read(
      'METRICS_PORT',
      'Port of `/metrics` and of health checks for operators, on HOST. `0` turns it off.',
      wholeNumber(9464, 0, 65_535)
    ),
    workers: read('WORKERS', 'Number of processes that serve PORT. `auto` is one for each core.', processCount(1, 256)),
    issuer: read(
      'ISSUER',
      'Base URL that callers use to reach grantd. It is the `iss` of access tokens and the base of all published URLs.',
      optional(ownIssuer, '`http://HOST:PORT`')
    ),
    databaseUrl: read(
      'DATABASE_URL',
      'Connection string of Postgres 14–18. It may list several hosts of one cluster, separated by commas. grantd uses the host that accepts writes.',
      secret(postgresUrl, 'the embedded Postgres in DATA_DIR')
    ),
    migrationDatabaseUrl: read(
      'MIGRATION_DATABASE_URL',
      'Connection string of the same database with the role that owns the schema. Migrations use it.',
      secret(postgresUrl, 'DATABASE_URL')
    ),
    databasePoolSize: read(
      'DATABASE_POOL_SIZE',
      'Pooled connections of each process. A quarter is for background work, the rest is for administrators. Three more are for the token endpoint and for health checks.',
      wholeNumber(10, 2, 100)
    ),
    dataFolder: read(
      'DATA_DIR',
      'Folder of the embedded Postgres and of the keys of development mode.',
      text('./data')
    ),
    nodeEnv: read(
      'NODE_ENV',
      '`production` rejects everything that is meant for development only.',
      oneOf(['development', 'test', 'production'], 'development')
    ),
    logLevel: read('LOG_LEVEL', 'Lowest level that is logged.', oneOf(LOG_LEVELS, 'info')),
    keyEncryptionKey: read(
      'KEY_ENCRYPTION_KEY',
      'Encrypts the keys and secrets in the database. 32 random bytes in base64url, base64 or hex, the same for every instance.',
      secret(keyBytes, 'a file in DATA_DIR, in development mode only')
    ),
    previousKeyEncryptionKey: read(
      'KEY_ENCRYPTION_KEY_PREVIOUS',
      'The former KEY_ENCRYPTION_KEY, while it is being replaced. It decrypts what is not re-encrypted yet.',
      secret(keyBytes, 'none')
    ),
    keyRotationDays: read(
      'KEY_ROTATION_DAYS',
      'Days after which a new signing key takes over. `0` never rotates.',
      wholeNumber(90, 0, 3_650)
    ),
    signingAlgorithm: read('SIGNING_ALGORITHM', 'The `alg` of access tokens.', oneOf(SIGNING_ALGORITHMS, 'ES256')),
    accessTokenAudience: read(
      'ACCESS_TOKEN_AUDIENCE',
      'The `aud` of access tokens of registrations without `audiences`.',
      optional(anyText, 'ISSUER')
    ),
    accessTokenTtlSeconds: read(
      'ACCESS_TOKEN_TTL_SECONDS',
      'Maximum lifetime of an access token, in seconds.',
      wholeNumber(900, 1, 3_600)
    ),
    scopesSupported: read(
      'SCOPES_SUPPORTED',
      'Catalogue of scopes, separated by spaces or commas. A registration can be given no other scope, and the metadata lists them.',
      optional(scopeCatalogue, 'any scope')
    ),
    publishesAuthorizationEndpoint: read(
      'PUBLISH_AUTHORIZATION_ENDPOINT',
      '`true` adds an `authorization_endpoint` to the metadata, for clients that reject metadata without one. It refuses every request.',
      onOrOff(false)
    ),
    tokenFailureLimit: read(
      'TOKEN_FAILURE_LIMIT',
      'Failed token requests per minute from one source for one client. Further failures are answered with 429.',
      wholeNumber(100, 1, 1_000_000)
    ),
    staleCredentialsSeconds: read(
      'STALE_CREDENTIALS_SECONDS',
      'How long after its last exchange a client still gets tokens while the database is unavailable, in seconds. `0` turns this off.',
      wholeNumber(60, 0, 3_600)
    ),
    introspectionSites: read(
      'INTROSPECTION_SITES',
      'Sites whose registrations with `mayIntrospect` may introspect tokens of every Site, separated by commas. Meant for gateways that all Sites share.',
      list(siteId, 'none')
    ),
    secretPrefix: read(
      'CLIENT_SECRET_PREFIX',
      'Prefix of new Client secrets, by which secret scanners find them.',
      text('grantd_', /^[A-Za-z][A-Za-z0-9_]{5,31}$/, '6 to 32 letters, digits or underscores, starting with a letter')
    ),
    maxLifetimeDays: read(
      'MAX_REGISTRATION_LIFETIME_DAYS',
      'Maximum lifetime of a registration, in days from now.',
      wholeNumber(731, 1, 36_500)
    ),
    maxPerSite: read(
      'MAX_REGISTRATIONS_PER_SITE',
      'Maximum number of registrations in one Site.',
      wholeNumber(1_000, 1, 1_000_000)
    ),
    auditRetentionDays: read(
      'AUDIT_RETENTION_DAYS',
      'Days for which audit events are kept: at least 30. grantd deletes older ones itself. `0` keeps them forever.',
      zeroOr(wholeNumber(400, 30, 36_500))
    ),
    adminIssuer: read(
      'ADMIN_ISSUER',
      "The `iss` of administrators' tokens. Without ADMIN_JWKS_URI it must be an https URL, because grantd reads the keys from its discovery document.",
      optional(anyText, 'development mode, in which grantd issues admin tokens itself')
    ),
    adminAudience: read(
      'ADMIN_AUDIENCE',
      "The `aud` of administrators' tokens. Required with ADMIN_ISSUER.",
      optional(anyText, 'none')
    ),
    adminJwksUri: read(
      'ADMIN_JWKS_URI',
      "URL of the public keys of administrators' tokens.",
      optional(webAddress, 'the discovery document of ADMIN_ISSUER')
    ),
    adminSitesClaim: read(
      'ADMIN_SITES_CLAIM',
      'Claim that lists the Sites that the caller administers: a list, or one text with spaces between. The value `*` means all Sites. A nested claim is `realm_access.roles` or `/realm_access/roles`. Users must not be able to edit it.',
      text('site_admin')
    ),
    adminCorsOrigins: read(
      'ADMIN_CORS_ORIGINS',
      'Origins of the admin UI, separated by commas.',
      list(origin, 'none, which turns CORS off')
    ),
    federatedIssuers: read(
      'FEDERATED_ISSUERS',
      'Issuers of workload tokens that registrations may name, separated by commas. grantd reads the keys of `https://issuer.example` from its discovery document, and those of `https://issuer.example=/path/jwks.json` from this file.',
      list(federatedIssuer, 'none')
    ),
    trustedProxies: read(
      'TRUSTED_PROXIES',
      'Proxies whose X-Forwarded-For names the source of a request. IP addresses or CIDR ranges, separated by commas.',
      list(addressRange, 'none')
    ),
    noticeDays: read(
      'NOTICE_DAYS',
      'When notices are sent, in days before expiry, separated by commas. `0` is the expiry itself.',
      withDefault(noticeDays, '30,7,0')
    ),
    noticeIntervalSeconds: read(
      'NOTICE_INTERVAL_SECONDS',
      'How often grantd looks for due notices, in seconds.',
      wholeNumber(15, 1, 3_600)
    ),
    noticeRetentionDays: read(
      'NOTICE_RETENTION_DAYS',
      'Days to keep notices after the expiry date, once no registration has that expiry date. `0` keeps them forever.',
      wholeNumber(400, 0, 36_500)
    ),
    unusedNoticeDays: read(
      'UNUSED_NOTICE_DAYS',
      'Days without an exchange after which a notice says that a registration is unused. grantd looks about once an hour. `0` turns it off.',
      wholeNumber(0, 0, 1_000)
    ),
    unusedDisableDays: read(
      'UNUSED_DISABLE_DAYS',
      'Days without an exchange after which grantd disables a registration. Requires UNUSED_NOTICE_DAYS and is at least 7 more. grantd never deletes one. `0` turns it off.',
      wholeNumber(0, 0, 1_000)
    ),
    noticeWebhookUrl: read(
      'NOTICE_WEBHOOK_URL',
      'Webhook that receives the notices of all Sites.',
      optional(webAddress, 'none')
    ),
    noticeWebhookSecrets: read(
      'NOTICE_WEBHOOK_SECRET',
      'Signing secret of NOTICE_WEBHOOK_URL (Standard Webhooks, `whsec_…`). Two, separated by a comma, while it is being replaced.',
      secretList(webhookSecret, 2, 'none')
    ),
    noticeWebhookAllow: read(
      'NOTICE_WEBHOOK_ALLOW',
      'Targets that webhooks may reach although they are not public. Host names, IP addresses or CIDR ranges, separated by commas. All ports are allowed.',
      list(outgoingTarget, 'none')
    ),
    maxReceiversPerSite: read(
      'MAX_NOTICE_RECEIVERS_PER_SITE',
      'Maximum number of notice receivers in one Site.',
      wholeNumber(20, 1, 1_000)
    ),
    smtpUrl: read(
      'SMTP_URL',
      'Mail server. A password in it is sent over TLS only.',
      secret(smtpUrl, 'none, which turns mail off')
    ),
    noticeMailFrom: read('NOTICE_MAIL_FROM', 'Sender of mails. Required with SMTP_URL.', optional(mailbox, 'none')),
    noticeMailDomains: read(
      'NOTICE_MAIL_DOMAINS',
      'Domains that grantd may send mail to, separated by commas.',
      list(mailDomain, 'any')
    ),
    noticeMailTo: read(
      'NOTICE_MAIL_TO',
      'Recipients of the notices of all Sites by mail, separated by commas.',
      list(mailbox, 'none')
    ),
    calledUrl: read(
      'GRANTD_URL',
      'Base URL of the grantd that `npm run cli` and `npm run apply` call.',
      optional(issuer, '`http://HOST:PORT`')
    ),
    calledToken: read(
      'GRANTD_TOKEN',
      "Bearer token that these commands send. For the admin API it is an administrator's.",
      secret(bearerToken, 'a token that the key in DATA_DIR signs, in development mode and on this machine only')
    )
  }
}

export type Variables = ReturnType<typeof readVariables>
