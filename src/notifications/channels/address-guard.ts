import { BlockList, isIP } from 'node:net'
import { familyOf, isPublicAddress, translated } from '../../http/public-address.ts'

/** Targets that are allowed although their address is not public, as NOTICE_WEBHOOK_ALLOW lists them. */
export interface AllowedTargets {
  /** Addresses, CIDR ranges and host names, in lower case. */
  items: readonly string[]
  /** Whether a listed loopback target may be reached by plain http. Never in production. */
  allowsPlainHttp: boolean
}

/** The URL leads to an address that grantd may not send to. */
export class TargetRefused extends Error {
  constructor() {
    super('the host does not lead to a public address')
    this.name = 'TargetRefused'
  }
}

/** Decides whether grantd may send to a URL or an address. It resolves nothing: the caller does that. */
export class AddressGuard {
  readonly #hosts: ReadonlySet<string>
  readonly #allowed = new BlockList()
  readonly #allowsPlainHttp: boolean

  constructor({ items, allowsPlainHttp }: AllowedTargets) {
    this.#hosts = new Set(items.filter(item => isIP(item.split('/', 1)[0] ?? '') === 0))
    this.#allowsPlainHttp = allowsPlainHttp
    for (const item of items) {
      const [address = '', bits] = item.split('/')
      const family = familyOf(address)
      if (family === undefined) continue
      this.#allowed.addSubnet(address, bits === undefined ? (family === 'ipv4' ? 32 : 128) : Number(bits), family)
    }
  }

  /**
   * Returns what is wrong with this URL, in words for an administrator; undefined when nothing is. It does not check
   * the addresses of a host name.
   */
  urlFault(text: string): string | undefined {
    if (!URL.canParse(text)) return 'must be an absolute https URL'
    const url = new URL(text)
    if (url.username !== '' || url.password !== '') return 'must not have credentials'
    if (text.includes('#')) return 'must not have a fragment'
    const host = hostOf(url)
    if (url.protocol === 'http:') {
      const isAllowed = this.#allowsPlainHttp && isLoopbackHost(host) && this.#isListed(host)
      return isAllowed ? undefined : 'must be an https URL'
    }
    if (url.protocol !== 'https:') return 'must be an https URL'
    const isRefused = isIP(host) === 0 ? isLoopbackHost(host) && !this.#hosts.has(host) : !this.allows(host, host)
    if (isRefused) return NOT_PUBLIC
    return AS_IT_IS_READ.test(text)
      ? undefined
      : 'must have two slashes after the scheme, and no spaces, backslashes or invisible characters'
  }

  /** Returns whether a request for this host may go to this address. */
  allows(host: string, address: string): boolean {
    const reached = translated(address)
    const family = familyOf(reached)
    if (family === undefined) return false
    return this.#hosts.has(host) || this.#allowed.check(reached, family) || isPublicAddress(reached)
  }

  /** Returns whether this host name is allowed at any address. */
  listsHost(host: string): boolean {
    return this.#hosts.has(host)
  }

  #isListed(host: string): boolean {
    const family = familyOf(host)
    return this.#hosts.has(host) || (family !== undefined && this.#allowed.check(host, family))
  }
}

/** A URL that a parser takes as it is, without removing, adding or replacing a character. */
const AS_IT_IS_READ = /^[a-z]+:\/\/[^\s\\\p{C}]+$/iu

/** Also says of a host name that it does not exist, so that nobody can look up names of the internal network here. */
export const NOT_PUBLIC = 'must lead to a public address, not to a loopback, private or reserved one'

/** Returns the host of a URL in the form in which hosts are compared: without brackets and trailing dot. */
export function hostOf(url: URL): string {
  return url.hostname.replace(/^\[(.*)\]$/, '$1').replace(/\.$/, '')
}

export function isLoopbackAddress(address: string): boolean {
  return address === '::1' || (isIP(address) === 4 && address.startsWith('127.'))
}

function isLoopbackHost(host: string): boolean {
  return host === 'localhost' || host.endsWith('.localhost') || isLoopbackAddress(host)
}
