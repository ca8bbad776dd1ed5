import { lookup, Resolver } from 'node:dns/promises'
import type { AddressGuard } from './address-guard.ts'

export interface ResolvedAddress {
  address: string
  family: number
}

/** Finds the addresses of a name. */
export type Resolve = (host: string) => Promise<readonly ResolvedAddress[]>

/** Of one question to one name server; below the time of a request together. */
const QUESTION_TIMEOUT_MS = 2_000
const TRIES = 2

/**
 * Resolves names by DNS, on sockets. The system's own resolver would take a thread of libuv's few for each: names
 * whose servers don't answer could hold up those of other receivers, and Argon2. It is used for the names alone that
 * the operator lists, which may stand in /etc/hosts.
 *
 * @param servers address and port of name servers, in place of the system's
 * @throws the error of the name server, when there is no address
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
