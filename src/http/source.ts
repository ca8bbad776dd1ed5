import { isIP } from 'node:net'
import type { FastifyRequest } from 'fastify'

/**
 * Address that a request came from: of the connection, or what trusted proxies say. IPv4 is written as IPv4,
 * also where the socket speaks IPv6; what a proxy passes on that is no address counts for nothing.
 */
export function sourceOf(request: FastifyRequest): string {
  const address = request.ip.replace(/^::ffff:(?=\d+\.)/i, '')
  return isIP(address) === 0 ? (request.socket.remoteAddress ?? 'unknown') : address
}
