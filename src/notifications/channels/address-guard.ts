import { BlockList, isIP } from 'node:net'

/** Where requests to receivers may go although the address is not public: as NOTICE_WEBHOOK_ALLOW lists them. */
export interface AllowedTargets {
  /** Addresses, CIDR ranges and host names, in lower case. */
  items: readonly string[]
  /** May a loopback among them be spoken to by plain http? Never in production. */
  allowsPlainHttp: boolean
}

/** Says of a URL or an address whether grantd may send there. Pure: resolving is the caller's. */
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
   * What is wrong with this URL, for people; undefined when nothing is. The addresses of a name are not judged here.
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
      : 'must have two slashes, and no spaces, backslashes or characters that nobody sees'
  }

  /** May a request for this host go to this address? */
  allows(host: string, address: string): boolean {
    const family = familyOf(address)
    if (family === undefined) return false
    if (this.#hosts.has(host) || this.#allowed.check(address, family)) return true
    return !NON_PUBLIC[family].check(address, family)
  }

  /** Is it a name that is allowed by itself, wherever it leads? */
  listsHost(host: string): boolean {
    return this.#hosts.has(host)
  }

  #isListed(host: string): boolean {
    const family = familyOf(host)
    return this.#hosts.has(host) || (family !== undefined && this.#allowed.check(host, family))
  }
}

/** What a parser of URLs would take out, add or turn. */
const AS_IT_IS_READ = /^[a-z]+:\/\/[^\s\\\p{C}]+$/iu

export const NOT_PUBLIC = 'must not lead to a loopback, private or reserved address'

/** The host of a URL as names and addresses are compared: no brackets, no trailing dot. */
export function hostOf(url: URL): string {
  return url.hostname.replace(/^\[(.*)\]$/, '$1').replace(/\.$/, '')
}

export function isLoopbackAddress(address: string): boolean {
  return address === '::1' || (isIP(address) === 4 && address.startsWith('127.'))
}

function isLoopbackHost(host: string): boolean {
  return host === 'localhost' || host.endsWith('.localhost') || isLoopbackAddress(host)
}

/** An address with a zone is link-local, and of no family here. */
function familyOf(address: string): 'ipv4' | 'ipv6' | undefined {
  if (address.includes('%')) return undefined
  return ({ 4: 'ipv4', 6: 'ipv6' } as const)[isIP(address)]
}

/** IANA's registry of special-purpose addresses (RFC 6890), multicast, and what is reserved. */
const NON_PUBLIC_IPV4 = [
  '0.0.0.0/8', // this network
  '10.0.0.0/8', // private
  '100.64.0.0/10', // carrier-grade NAT
  '127.0.0.0/8', // loopback
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

/** Only 2000::/3 is global unicast: what embeds IPv4 (::ffff:0:0/96, 64:ff9b::/96), private, link-local, multicast is not. */
const NON_PUBLIC_IPV6 = [
  '::/3',
  '4000::/2',
  '8000::/1',
  '2001::/23', // protocol assignments, Teredo
  '2001:db8::/32', // documentation
  '2002::/16', // 6to4
  '3fff::/20' // documentation
]

/** A list for each family: one of both would judge an IPv4 address by ranges of IPv6. */
const NON_PUBLIC = { ipv4: rangesOf(NON_PUBLIC_IPV4, 'ipv4'), ipv6: rangesOf(NON_PUBLIC_IPV6, 'ipv6') } as const

function rangesOf(ranges: readonly string[], family: 'ipv4' | 'ipv6'): BlockList {
  const list = new BlockList()
  for (const range of ranges) {
    const [address = '', bits] = range.split('/')
    list.addSubnet(address, Number(bits), family)
  }
  return list
}
