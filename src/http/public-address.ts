import { BlockList, isIP } from 'node:net'

/** Returns whether an address is a global unicast one, which everybody on the internet can reach. */
export function isPublicAddress(address: string): boolean {
  const reached = translated(address)
  const family = familyOf(reached)
  return family !== undefined && !NON_PUBLIC[family].check(reached, family)
}

/** Returns undefined for an address with a zone too: it is link-local. */
export function familyOf(address: string): 'ipv4' | 'ipv6' | undefined {
  if (address.includes('%')) return undefined
  return ({ 4: 'ipv4', 6: 'ipv6' } as const)[isIP(address)]
}

/** Well-known prefix of NAT64 (RFC 6052 §2.1). The last 32 bits are the IPv4 address that is reached. */
const NAT64 = new BlockList()
NAT64.addSubnet('64:ff9b::', 96, 'ipv6')

/** Returns the IPv4 address behind a NAT64 address, and any other address as it is. */
export function translated(address: string): string {
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
