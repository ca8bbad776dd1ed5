import type { IncomingMessage } from 'node:http'
import { isIP } from 'node:net'
import type { FastifyInstance, FastifyRequest } from 'fastify'

declare module 'fastify' {
  interface FastifyRequest {
    /** See `sourceOf`. */
    source: string
  }
}

const UNKNOWN = 'unknown'

/**
 * Returns the address that a request came from: the address that trusted proxies name, else that of the connection.
 * IPv4 is written as IPv4, also where the socket speaks IPv6.
 */
export function sourceOf(request: FastifyRequest): string {
  return request.source
}

/** Reads the source of each request when it arrives. Later the connection may be gone, and its address with it. */
export function recordSources(app: FastifyInstance): void {
  app.decorateRequest('source', UNKNOWN)
  app.addHook('onRequest', (request, _reply, done) => {
    request.source = readSource(request)
    done()
  })
}

/** Fastify's type says that `ip` is always there. It is not once the caller has reset the connection. */
function readSource({
  ip,
  socket
}: {
  ip: string | undefined
  socket: { remoteAddress?: string | undefined }
}): string {
  const address = ip?.replace(/^::ffff:(?=\d+\.)/i, '') ?? ''
  // A proxy can name anything. What is not an address does not count.
  return isIP(address) === 0 ? (socket.remoteAddress ?? UNKNOWN) : address
}

/**
 * Removes ports and brackets from X-Forwarded-For: some gateways write `198.51.100.7:50123` or `[2001:db8::7]:443`, which
 * would not be recognised as addresses. Call it before Fastify sees the request.
 */
export function normaliseForwardedFor({ headers }: IncomingMessage): void {
  const forwardedFor = headers['x-forwarded-for']
  if (typeof forwardedFor !== 'string') return
  headers['x-forwarded-for'] = forwardedFor
    .split(',')
    .map(item => withoutPort(item.trim()))
    .join(', ')
}

function withoutPort(address: string): string {
  const [, bracketed, ipv4] = /^(?:\[([\da-fA-F:.]+)\](?::\d+)?|([\d.]+):\d+)$/.exec(address) ?? []
  return bracketed ?? ipv4 ?? address
}
