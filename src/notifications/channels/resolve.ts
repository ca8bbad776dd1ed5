import { lookup, Resolver } from 'node:dns/promises'
import type { AddressGuard } from './address-guard.ts'

export interface ResolvedAddress {
  address: string
  family: number
}

/** Returns the addresses of a host name. */
export type Resolve = (host: string) => Promise<readonly ResolvedAddress[]>

/** Limit of one question to one name server. All tries together take less than a request may. */
const QUESTION_TIMEOUT_MS = 2_000
const TRIES = 2

/**
 * Makes a resolver that asks DNS by sockets. The system's resolver would take one of libuv's few threads for each name, so
 * names whose servers do not answer would delay other receivers and Argon2. Only host names that the operator lists are
 * resolved by the system, because they may stand in /etc/hosts.
 *
 * @param servers address and port of name servers; the system's by default
 * @throws the error of the name server when there is no address
 */
export function createResolve(guard: AddressGuard, servers?: readonly string[]): Resolve {
  const resolver = new Resolver({ timeout: QUESTION_TIMEOUT_MS, tries: TRIES })
  if (servers !== undefined) resolver.setServers(servers)
  return async host => {
    if (guard.listsHost(host)) return lookup(host, { all: true })
    const [ipv4, ipv6] = await Promise.allSettled([resolver.resolve4(host), resolver.resolve6(host)])
    const addresses = [
      ...(ipv4.status === 'fulfilled' ? ipv4.value.map(address => ({ address, family: 4 })) : []),
      ...(ipv6.status === 'fulfilled' ? ipv6.value.map(address => ({ address, family: 6 })) : [])
    ]
    if (addresses.length === 0 && ipv4.status === 'rejected') throw ipv4.reason
    return addresses
  }
}

/** Returns whether this error says that a host name does not exist or has no address. */
export function isUnknownHost(error: unknown): boolean {
  const { code } = Object(error)
  return code === 'ENOTFOUND' || code === 'ENODATA'
}
