import { addressesOf } from '../database/connection-string.ts'
import { isLoopback } from '../http/loopback.ts'
import { readKeyFile } from '../issuer-keys/key-file.ts'
import { issuer as issuerFormat, mailDomainOf } from './formats.ts'
import type { Variables } from './variables.ts'

/*
 * Checks across variables. Each returns faults, which begin with the name of the variable to change.
 */

/** The part of the configuration that checks need beside the variables. */
interface Derived {
  isProduction: boolean
  /** ISSUER, or its default. */
  issuer: string
}

export function databaseFaults({ databaseUrl }: Variables, { isProduction }: Derived): string[] {
  return isProduction && databaseUrl === undefined ? ['DATABASE_URL must be set in production'] : []
}

/** Returns the faults that keep grantd from serving. */
export function servingFaults(variables: Variables, derived: Derived): string[] {
  return [
    ...listeningFaults(variables),
    ...adminFaults(variables, derived),
    ...federationFaults(variables, derived),
    ...noticeFaults(variables, derived),
    ...unusedFaults(variables),
    ...productionFaults(variables, derived)
  ]
}

function listeningFaults({ metricsPort, port }: Variables): string[] {
  return metricsPort === port
    ? ['METRICS_PORT must differ from PORT, which callers can reach. METRICS_PORT=0 turns metrics off']
    : []
}

function adminFaults({ adminIssuer, adminAudience, adminJwksUri }: Variables, derived: Derived): string[] {
  const faults: string[] = []
  if (adminIssuer !== undefined && adminAudience === undefined) {
    faults.push('ADMIN_AUDIENCE must be set when ADMIN_ISSUER is set')
  }
  if (adminIssuer === undefined && adminJwksUri !== undefined) {
    faults.push('ADMIN_ISSUER must be set when ADMIN_JWKS_URI is set')
  }
  if (adminIssuer === derived.issuer) {
    faults.push('ADMIN_ISSUER must differ from ISSUER, because an access token is never an admin token')
  }
  if (adminIssuer !== undefined && adminJwksUri === undefined) {
    faults.push(...discoveryFaults(adminIssuer, derived))
  }
  if (adminJwksUri !== undefined && !isSecure(adminJwksUri, derived)) faults.push(`ADMIN_JWKS_URI ${MUST_BE_HTTPS}`)
  return faults
}

/** Without ADMIN_JWKS_URI, the keys come from the discovery document at ADMIN_ISSUER. */
function discoveryFaults(adminIssuer: string, derived: Derived): string[] {
  try {
    return isSecure(issuerFormat(adminIssuer), derived) ? [] : [`ADMIN_ISSUER ${MUST_BE_HTTPS}, or set ADMIN_JWKS_URI`]
  } catch (error) {
    const rule = error instanceof Error ? error.message : String(error)
    return [`ADMIN_ISSUER must be ${rule}. For another issuer, set ADMIN_JWKS_URI`]
  }
}

function federationFaults({ federatedIssuers }: Variables, derived: Derived): string[] {
  const names = federatedIssuers.map(({ issuer }) => issuer)
  const repeated = names.filter((name, index) => names.indexOf(name) < index)
  const faults = [...new Set(repeated)].map(name => `FEDERATED_ISSUERS must be a list without repetition: ${name}`)
  if (names.includes(derived.issuer)) {
    faults.push('FEDERATED_ISSUERS must be issuers other than ISSUER, because an access token is never a credential')
  }
  for (const { issuer, keyFile } of federatedIssuers) {
    if (!isSecure(issuer, derived)) faults.push(`FEDERATED_ISSUERS ${MUST_BE_HTTPS}: ${issuer}`)
    if (keyFile !== undefined) faults.push(...keyFileFaults(keyFile))
  }
  return faults
}

function keyFileFaults(keyFile: string): string[] {
  try {
    readKeyFile(keyFile)
    return []
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    return [`FEDERATED_ISSUERS must be followed by files that hold a JSON Web Key Set: ${reason}`]
  }
}

const MUST_BE_HTTPS = 'must be an https URL. Plain http is allowed for loopback hosts outside production'

/** May this URL be used without the risk that someone on the network reads or changes what is sent? */
function isSecure(url: string, { isProduction }: Derived): boolean {
  return url.startsWith('https:') || (!isProduction && isLoopback(url))
}

/** Between the notice and the end, an administrator needs time. */
const UNUSED_GRACE_DAYS = 7

function unusedFaults({ unusedNoticeDays: notice, unusedDisableDays: disable }: Variables): string[] {
  if (disable === 0) return []
  if (notice === 0) return ['UNUSED_NOTICE_DAYS must be set when UNUSED_DISABLE_DAYS is set']
  if (disable >= notice + UNUSED_GRACE_DAYS) return []
  return [`UNUSED_DISABLE_DAYS must be at least ${UNUSED_GRACE_DAYS} days longer than UNUSED_NOTICE_DAYS`]
}

function noticeFaults(variables: Variables, derived: Derived): string[] {
  const {
    noticeWebhookUrl: url,
    noticeWebhookSecrets,
    smtpUrl,
    noticeMailFrom,
    noticeMailTo,
    noticeMailDomains
  } = variables
  const faults: string[] = []
  if (url !== undefined && noticeWebhookSecrets.length === 0) {
    faults.push('NOTICE_WEBHOOK_SECRET must be set when NOTICE_WEBHOOK_URL is set')
  }
  if (url !== undefined && !isSecure(url, derived)) faults.push(`NOTICE_WEBHOOK_URL ${MUST_BE_HTTPS}`)
  if (smtpUrl !== undefined && noticeMailFrom === undefined) {
    faults.push('NOTICE_MAIL_FROM must be set when SMTP_URL is set')
  }
  if (smtpUrl === undefined && noticeMailTo.length > 0) faults.push('SMTP_URL must be set when NOTICE_MAIL_TO is set')
  const isForeign = (address: string) => !noticeMailDomains.includes(mailDomainOf(address))
  if (noticeMailDomains.length > 0 && noticeMailTo.some(isForeign)) {
    faults.push('NOTICE_MAIL_TO must have addresses in NOTICE_MAIL_DOMAINS only')
  }
  return faults
}

function productionFaults({ keyEncryptionKey, adminIssuer, adminAudience }: Variables, derived: Derived): string[] {
  if (!derived.isProduction) return []
  const faults: string[] = []
  if (keyEncryptionKey === undefined) faults.push('KEY_ENCRYPTION_KEY must be set in production')
  if (adminIssuer === undefined) {
    faults.push('ADMIN_ISSUER must be set in production, where grantd does not issue admin tokens itself')
    if (adminAudience === undefined) faults.push('ADMIN_AUDIENCE must be set in production')
  }
  if (!derived.issuer.startsWith('https:') && !isLoopback(derived.issuer)) {
    faults.push('ISSUER must be an https URL in production (RFC 8414 §2)')
  }
  return faults
}

/** Returns warnings about what is allowed but probably a mistake. Each begins with the name of the variable to change. */
export function servingWarnings({ databaseUrl }: Variables, { isProduction, issuer }: Derived): string[] {
  const warnings: string[] = []
  if (!isProduction) return warnings
  if (isLoopback(issuer)) warnings.push('ISSUER is a loopback address, so other machines cannot use tokens or metadata')
  if (databaseUrl !== undefined && addressesOf(databaseUrl).some(isUnencrypted)) {
    warnings.push(
      'DATABASE_URL has no sslmode, so the connection to Postgres is not encrypted. Add sslmode=verify-full'
    )
  }
  return warnings
}

/** Does this connection string lead over a network without TLS? */
function isUnencrypted(address: string): boolean {
  const url = new URL(address.replace('@/', '@localhost/').replace(':///', '://localhost/'))
  const { searchParams } = url
  const isLocal = searchParams.has('host') ? searchParams.get('host')?.startsWith('/') : isLoopback(url.href)
  const mode = searchParams.get('sslmode') ?? 'disable'
  return !isLocal && ['disable', 'allow'].includes(mode) && searchParams.get('ssl') !== 'true'
}
