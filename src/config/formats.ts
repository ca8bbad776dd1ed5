import { isIP } from 'node:net'
import path from 'node:path'
import { decodeWebhookSecret } from '../crypto/webhook-secret.ts'
import { addressesOf, UnsupportedTarget } from '../database/connection-string.ts'

/*
 * The formats of values. Each function returns the value, or throws an Error whose message completes "NAME must be …".
 * A message never repeats the value, which may be a secret.
 */

export function anyText(value: string): string {
  return value
}

/** A bearer token stands in a header (RFC 6750 §2.1), so that it has no space, line break or character beyond ASCII. */
export function bearerToken(value: string): string {
  if (!/^[\x21-\x7e]+$/.test(value)) throw new Error('one line of characters that a header can have, without spaces')
  return value
}

/** A host that can also stand in a URL, for the default of ISSUER. So a link-local address has no zone. */
export function host(value: string): string {
  const isName = /^[A-Za-z0-9][A-Za-z0-9.-]*$/.test(value) && URL.canParse(`http://${value}`)
  if (!isName && (isIP(value) === 0 || value.includes('%'))) throw new Error('an IP address or a host name')
  return value
}

/** An issuer has no query and no fragment (RFC 8414 §2). A trailing slash is part of it. */
export function issuer(value: string): string {
  if (/[?#]/.test(webAddress(value))) throw new Error('an http(s) URL without a query or fragment')
  return value
}

/** An issuer of workload tokens. Without a file, its keys come from its discovery document. */
export interface FederatedIssuer {
  issuer: string
  /** Path of the file that holds its JSON Web Key Set. */
  keyFile: string | undefined
}

/** `https://issuer.example`, or `https://issuer.example=/path/of/jwks.json`. */
export function federatedIssuer(value: string): FederatedIssuer {
  const [, name = '', keyFile] = /^([^\s=]+)(?:=(.*\S))?$/.exec(value) ?? []
  try {
    return { issuer: issuer(name), keyFile: keyFile === undefined ? undefined : path.resolve(keyFile) }
  } catch {
    throw new Error(
      'a list of issuers, separated by commas. Each is an https URL without a query or fragment, and may be followed by = and the file of its keys, such as https://cluster.example=/etc/grantd/cluster.jwks.json'
    )
  }
}

/** grantd serves metadata at the path of its own issuer, and its router cannot match every path. */
export function ownIssuer(value: string): string {
  if (!/^[\w.~:@!$&'()+,;=/-]*$/.test(new URL(issuer(value)).pathname)) {
    throw new Error('an http(s) URL whose path has no escapes and no asterisk')
  }
  return value
}

export function webAddress(value: string): string {
  const { protocol, username, password } = URL.canParse(value) ? new URL(value) : { protocol: undefined }
  if ((protocol !== 'http:' && protocol !== 'https:') || username || password) {
    throw new Error('an absolute http(s) URL without credentials')
  }
  return value
}

export function origin(value: string): string {
  if (!/^https?:[^*]+$/.test(value) || !URL.canParse(value) || new URL(value).origin !== value) {
    throw new Error('a list of origins such as https://admin.example.com, without a path')
  }
  return value
}

export function postgresUrl(value: string): string {
  // node-postgres also accepts a user without a host. The socket is in the query then.
  const isUrl = (url: string): boolean =>
    /^postgres(ql)?:\/\//.test(url) && URL.canParse(url.replace('@/', '@localhost/'))
  try {
    if (addressesOf(value).every(isUrl)) return value
  } catch (error) {
    if (error instanceof UnsupportedTarget) throw error
    // The message below is used instead, because this one could repeat the value.
  }
  throw new Error(
    'a URL such as postgresql://user:password@host:5432/database. Several hosts of one cluster are separated by commas'
  )
}

export function addressRange(value: string): string {
  const [address = '', bits, ...rest] = value.split('/')
  const version = address.includes('%') ? 0 : isIP(address)
  const isRange = bits === undefined || (/^[1-9]\d{0,2}$/.test(bits) && Number(bits) <= (version === 4 ? 32 : 128))
  if (version === 0 || !isRange || rest.length > 0) throw new Error('a list of IP addresses or CIDR ranges')
  return value
}

/** A scope token (RFC 6749 §3.3), as long as a registration may hold it. */
const SCOPE = /^[!#-[\]-~]{1,128}$/

/** A catalogue of scopes. A comma separates two, although RFC 6749 allows it in a scope. */
export function scopeCatalogue(value: string): string[] {
  const scopes = value.split(/[\s,]+/).filter(Boolean)
  if (scopes.length === 0 || !scopes.every(scope => SCOPE.test(scope)) || new Set(scopes).size < scopes.length) {
    throw new Error(
      'a list of different scopes, separated by spaces or commas. A scope has up to 128 visible ASCII characters except " and \\'
    )
  }
  return scopes
}

export function siteId(value: string): string {
  if (/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(value)) return value
  throw new Error(
    'ids of Sites: up to 64 letters, digits, dots, hyphens and underscores, starting with a letter or digit'
  )
}

/** Random keys of 32 bytes have about 30 different byte values. Fewer than this do not occur by chance. */
const MIN_DISTINCT_BYTES = 16

export function keyBytes(value: string): Buffer {
  const bytes = /^[0-9a-fA-F]{64}$/.test(value)
    ? Buffer.from(value, 'hex')
    : /^[A-Za-z0-9_+/-]{43}=?$/.test(value)
      ? Buffer.from(value, 'base64')
      : undefined
  if (bytes?.length !== 32 || new Set(bytes).size < MIN_DISTINCT_BYTES) {
    throw new Error('32 random bytes in base64url, base64 or hex, such as the output of "openssl rand -base64 32"')
  }
  return bytes
}

const MAX_STEPS = 10
const MAX_STEP_DAYS = 365

/** Returns the steps of the expiry cadence in days before expiry, the earliest first. */
export function noticeDays(value: string): number[] {
  const items = value.split(',').map(item => item.trim())
  const days = items.map(Number)
  const areDays = items.every(item => /^\d{1,3}$/.test(item)) && Math.max(...days) <= MAX_STEP_DAYS
  if (!areDays || new Set(days).size < days.length || days.length > MAX_STEPS) {
    throw new Error(`at most ${MAX_STEPS} different whole numbers from 0 to ${MAX_STEP_DAYS}, separated by commas`)
  }
  return days.sort((one, other) => other - one)
}

/** A host name, an address, or a range of addresses. Names are returned in lower case. */
export function outgoingTarget(value: string): string {
  try {
    return /^[\d.]+$|[:/]/.test(value) ? addressRange(value) : host(value).toLowerCase()
  } catch {
    throw new Error('a list of host names, IP addresses or CIDR ranges')
  }
}

export function webhookSecret(value: string): string {
  if (decodeWebhookSecret(value) === undefined) {
    throw new Error('"whsec_" followed by 24 to 64 random bytes in base64, or two such secrets separated by a comma')
  }
  return value
}

export function smtpUrl(value: string): string {
  if (!/^smtps?:\/\/[^/]/.test(value) || !URL.canParse(value)) {
    throw new Error('a URL such as smtps://user:password@mail.example.com')
  }
  return value
}

/** One mail address, with or without a display name. */
export function mailbox(value: string): string {
  const plain = "[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?"
  if (!new RegExp(`^(${plain}|[\\w .-]+ <${plain}>)$`).test(value)) {
    throw new Error('a mail address such as grantd@example.com')
  }
  return value
}

/** The domain of a mail address. Returns it in lower case. */
export function mailDomain(value: string): string {
  if (!/^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$/.test(value)) throw new Error('a list of domains such as example.com')
  return value.toLowerCase()
}

/** Returns the domain of a mail address, with or without a display name, in lower case. */
export function mailDomainOf(address: string): string {
  return (/@([^@<>]+)>?$/.exec(address)?.[1] ?? '').toLowerCase()
}
