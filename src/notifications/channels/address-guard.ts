import { BlockList, isIP } from 'node:net'

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
    if (this.#hosts.has(host) || this.#allowed.check(reached, family)) return true
    return !NON_PUBLIC[family].check(reached, family)
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

/** Returns undefined for an address with a zone too: it is link-local. */
function familyOf(address: string): 'ipv4' | 'ipv6' | undefined {
  if (address.includes('%')) return undefined
  return ({ 4: 'ipv4', 6: 'ipv6' } as const)[isIP(address)]
}

/** Well-known prefix of NAT64 (RFC 6052 §2.1). The last 32 bits are the IPv4 address that is reached. */
const NAT64 = new BlockList()
NAT64.addSubnet('64:ff9b::', 96, 'ipv6')

/** Returns the IPv4 address behind a NAT64 address, and any other address as it is. */
function translated(address: string): string {
  if (familyOf(address) !== 'ipv6' || !NAT64.check(address, 'ipv6')) return address
  // The URL parser writes the last 32 bits as two groups of hexadecimal digits, or as one when the first is zero.
  const groups = new URL(`http://[${address}]/`).hostname.slice(1, -1).split('::')[1]?.split(':') ?? []
  const [high = '0', low = '0'] = groups.length > 1 ? groups : ['0', ...groups]
  const bits = [Number.parseInt(high || '0', 16), Number.parseInt(low || '0', 16)]
  return bits.flatMap(part => [part >> 8, part & 255]).join('.')
}

/** IANA's special-purpose addresses (RFC 6890), multicast, reserved ranges, and services that clouds put elsewhere. */
const NON_PUBLIC_IPV4 = [
  '0.0.0.0/8', // this network
  '10.0.0.0/8', // private
  '100.64.0.0/10', // carrier-grade NAT
  '127.0.0.0/8', // loopback
  '168.63.129.16/32', // Azure's host of each virtual machine: DNS, DHCP, agent
  '169.254.0.0/16', // link-local: metadata services of clouds
  '172.16.0.0/12', // private
  '192.0.0.0/24', // protocol assignments
  '192.0.2.0/24', // documentation
  '192.88.99.0/24', // 6to4 relays
  '192.168.0.0/16', // private
  '198.18.0.0/15', // benchmarks
  '198.51.100.0/24', // documentation
  '203.0.113.0/24', // documentation
  '224.0.0.0/4', // multicast
  '240.0.0.0/4' // reserved, broadcast
]

/** Only 2000::/3 is global unicast. Private, link-local and multicast addresses lie outside of it. */
const NON_PUBLIC_IPV6 = [
  '::/3',
  '4000::/2',
  '8000::/1',
  '2001::/23', // protocol assignments, Teredo
  '2001:db8::/32', // documentation
  '2002::/16', // 6to4
  '3fff::/20' // documentation
]

/** One list for each family, because a common list would check an IPv4 address against IPv6 ranges. */
const NON_PUBLIC = { ipv4: rangesOf(NON_PUBLIC_IPV4, 'ipv4'), ipv6: rangesOf(NON_PUBLIC_IPV6, 'ipv6') } as const

function rangesOf(ranges: readonly string[], family: 'ipv4' | 'ipv6'): BlockList {
  const list = new BlockList()
  for (const range of ranges) {
    const [address = '', bits] = range.split('/')
    list.addSubnet(address, Number(bits), family)
  }
  return list
}
