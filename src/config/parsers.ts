import { isIP } from 'node:net'
import { availableParallelism } from 'node:os'
import { UnwantedSession, urlsOf } from '../database/addresses.ts'

/** What a variable of the configuration can be: how it is read, and what holds without it. */
export interface Kind<T> {
  fallback: string
  isSecret?: boolean
  /** @throws Error whose message completes "NAME must be …"; it never repeats the value, which may be a secret */
  read: (value: string | undefined) => T
}

type Parse<T> = (value: string) => T

export function text(fallback: string, pattern = /./, rule = 'text'): Kind<string> {
  return {
    fallback: `\`${fallback}\``,
    read: (value = fallback) => {
      if (!pattern.test(value)) throw new Error(rule)
      return value
    }
  }
}

export function parsed<T>(parse: Parse<T>, fallback: string): Kind<T> {
  return { fallback: `\`${fallback}\``, read: (value = fallback) => parse(value) }
}

export function wholeNumber(fallback: number, least: number, most: number): Kind<number> {
  return {
    fallback: `\`${fallback}\``,
    read: (value = String(fallback)) => {
      const number = Number(value)
      if (!/^\d{1,9}$/.test(value) || number < least || number > most) {
        throw new Error(`a whole number from ${least} to ${most}`)
      }
      return number
    }
  }
}

/** A number of processes; `auto` is one for each core. */
export function processCount(fallback: number, most: number): Kind<number> {
  const { read } = wholeNumber(fallback, 1, most)
  return {
    fallback: `\`${fallback}\``,
    read: value => {
      if (value === 'auto') return Math.min(availableParallelism(), most)
      try {
        return read(value)
      } catch (error) {
        throw new Error(`${error instanceof Error ? error.message : String(error)}, or auto`)
      }
    }
  }
}

export function oneOf<const T extends string>(choices: readonly T[], fallback: NoInfer<T>): Kind<T> {
  return {
    fallback: `\`${fallback}\``,
    read: (value = fallback) => {
      const choice = choices.find(known => known === value)
      if (choice === undefined) throw new Error(`one of ${choices.join(', ')}`)
      return choice
    }
  }
}

export function optional<T>(parse: Parse<T>, fallback: string): Kind<T | undefined> {
  return { fallback, read: value => (value === undefined ? undefined : parse(value)) }
}

export function secret<T>(parse: Parse<T>, fallback: string): Kind<T | undefined> {
  return { ...optional(parse, fallback), isSecret: true }
}

export function list<T>(parse: Parse<T>, fallback: string): Kind<T[]> {
  return { fallback, read: (value = '') => itemsOf(value).map(parse) }
}

/** A list that is a secret. */
export function secretList<T>(parse: Parse<T>, most: number, fallback: string): Kind<T[]> {
  return {
    fallback,
    isSecret: true,
    read: (value = '') => {
      const items = itemsOf(value).map(parse)
      if (items.length > most) throw new Error(`at most ${most}, comma-separated`)
      return items
    }
  }
}

function itemsOf(value: string): string[] {
  return value
    .split(',')
    .map(item => item.trim())
    .filter(Boolean)
}

export function anyText(value: string): string {
  return value
}

/** What can also stand in a URL, for the default of ISSUER; so no zone of a link-local address. */
export function host(value: string): string {
  const isName = /^[A-Za-z0-9][A-Za-z0-9.-]*$/.test(value) && URL.canParse(`http://${value}`)
  if (!isName && (isIP(value) === 0 || value.includes('%'))) throw new Error('an IP address or a host name')
  return value
}

/** An issuer has no query and no fragment (RFC 8414 §2); a trailing slash is part of it. */
export function issuer(value: string): string {
  if (/[?#]/.test(webAddress(value))) throw new Error('an http(s) URL without query and fragment')
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
  // node-postgres also takes a user without a host, whose socket is in the query.
  const isUrl = (url: string): boolean =>
    /^postgres(ql)?:\/\//.test(url) && URL.canParse(url.replace('@/', '@localhost/'))
  try {
    if (urlsOf(value).every(isUrl)) return value
  } catch (error) {
    if (error instanceof UnwantedSession) throw error
    // Told below: another message could repeat the value.
  }
  throw new Error('a URL such as postgresql://user:password@host:5432/database; hosts of one cluster comma-separated')
}

export function addressRange(value: string): string {
  const [address = '', bits, ...rest] = value.split('/')
  const version = address.includes('%') ? 0 : isIP(address)
  const isRange = bits === undefined || (/^[1-9]\d{0,2}$/.test(bits) && Number(bits) <= (version === 4 ? 32 : 128))
  if (version === 0 || !isRange || rest.length > 0) throw new Error('a list of IP addresses or CIDR ranges')
  return value
}

/** The fewest different byte values among 32 that chance would plausibly give: random keys have about 30. */
const LEAST_DISTINCT_BYTES = 16

export function keyBytes(value: string): Buffer {
  const bytes = /^[0-9a-fA-F]{64}$/.test(value)
    ? Buffer.from(value, 'hex')
    : /^[A-Za-z0-9_+/-]{43}=?$/.test(value)
      ? Buffer.from(value, 'base64')
      : undefined
  if (bytes?.length !== 32 || new Set(bytes).size < LEAST_DISTINCT_BYTES) {
    throw new Error('32 random bytes in base64url, base64 or hex, such as "openssl rand -base64 32" prints')
  }
  return bytes
}

const MOST_STEPS = 10
const MOST_STEP_DAYS = 365

/** The steps of the expiry cadence, in days before expiry. @returns the first to come first */
export function noticeDays(value: string): number[] {
  const items = value.split(',').map(item => item.trim())
  const days = items.map(Number)
  const areDays = items.every(item => /^\d{1,3}$/.test(item)) && Math.max(...days) <= MOST_STEP_DAYS
  if (!areDays || new Set(days).size < days.length || days.length > MOST_STEPS) {
    throw new Error(`at most ${MOST_STEPS} different whole numbers from 0 to ${MOST_STEP_DAYS}, comma-separated`)
  }
  return days.sort((one, other) => other - one)
}

/** A host name, an address, or a range of addresses; names in lower case. */
export function outgoingTarget(value: string): string {
  try {
    return /^[\d.]+$|[:/]/.test(value) ? addressRange(value) : host(value).toLowerCase()
  } catch {
    throw new Error('a list of host names, IP addresses or CIDR ranges')
  }
}

/** As Standard Webhooks writes it: 24 to 64 bytes in base64 behind a prefix. */
export function webhookSecret(value: string): string {
  const [, encoded = ''] = /^whsec_(.*)$/.exec(value) ?? []
  const key = Buffer.from(encoded, 'base64')
  if (key.toString('base64') !== encoded || key.length < 24 || key.length > 64) {
    throw new Error('"whsec_" and 24 to 64 random bytes in base64, or two of them, comma-separated')
  }
  return value
}

export function smtpUrl(value: string): string {
  if (!/^smtps?:\/\/[^/]/.test(value) || !URL.canParse(value)) {
    throw new Error('a URL such as smtps://user:password@mail.example.com')
  }
  return value
}

/** One address that mails come from or go to, with or without a name before it. */
export function mailbox(value: string): string {
  const plain = "[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?"
  if (!new RegExp(`^(${plain}|[\\w .-]+ <${plain}>)$`).test(value)) {
    throw new Error('a mail address such as grantd@example.com')
  }
  return value
}
