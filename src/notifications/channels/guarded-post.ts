import type { IncomingMessage } from 'node:http'
import { request as requestTls } from 'node:https'
import { isIP, type LookupFunction } from 'node:net'
import { withinTime } from '../../concurrency/timeout.ts'
import { request as requestPlain } from '../../http/node-http.ts'
import { type AddressGuard, hostOf, isLoopbackAddress } from './address-guard.ts'
import type { Resolve, ResolvedAddress } from './resolve.ts'

export interface GuardedPostNeeds {
  guard: AddressGuard
  resolve: Resolve
  /** All of a request, from the name to the end of the answer, milliseconds. */
  timeoutMs: number
  /** Certificate authorities to trust in place of the system's. */
  ca?: string
}

/** The name leads, or has come to lead, where grantd may not send. */
export class TargetRefused extends Error {
  constructor() {
    super('the address is not one to send to')
    this.name = 'TargetRefused'
  }
}

/** All of a request to a webhook. */
export const WEBHOOK_TIMEOUT_MS = 10_000

/** An answer is read up to here, so that the connection ends well, and then cut. */
const ANSWER_LIMIT_BYTES = 65_536

/**
 * Sends a body to a URL that somebody else chose. The address that is judged is the one that is connected to:
 * a name is resolved here, once, and its addresses handed to the socket. Redirects are not followed.
 *
 * @returns the status of the answer, whatever it is; its body is nobody's business
 * @throws TargetRefused; the socket's error; the signal's reason; a TimeoutError
 */
export async function guardedPost(
  needs: GuardedPostNeeds,
  target: string,
  headers: Record<string, string>,
  body: Buffer,
  signal: AbortSignal
): Promise<number> {
  if (needs.guard.urlFault(target) !== undefined) throw new TargetRefused()
  const url = new URL(target)
  const head = Promise.withResolvers<number>()
  const ended = withinTime(needs.timeoutMs, signal, async cut => {
    const addresses = await permittedAddresses(needs, url)
    const response = await send(needs, url, addresses, headers, body, cut)
    head.resolve(response.statusCode ?? 0)
    await drain(response)
  })
  // Once the status is there it counts, however the rest ends.
  await ended.catch(head.reject)
  return head.promise
}

function send(
  { ca }: GuardedPostNeeds,
  url: URL,
  addresses: readonly ResolvedAddress[],
  headers: Record<string, string>,
  body: Buffer,
  signal: AbortSignal
): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
  const open = url.protocol === 'https:' ? requestTls : requestPlain
  const request = open(url, {
    method: 'POST',
    headers: { ...headers, 'content-length': body.length },
    // A connection of its own: a pooled one may have been opened for another check.
    agent: false,
    lookup: pinnedLookup(addresses),
    signal,
    ...(ca !== undefined && { ca })
  })
  request.on('error', reject)
  request.on('response', resolve)
  request.end(body)
  return promise
}

/** @throws TargetRefused when one of them is not to be sent to: a name that leads both ways is not trusted */
export async function permittedAddresses(
  { guard, resolve }: Pick<GuardedPostNeeds, 'guard' | 'resolve'>,
  url: URL
): Promise<readonly ResolvedAddress[]> {
  const host = hostOf(url)
  const family = isIP(host)
  const addresses = family === 0 ? await resolve(host) : [{ address: host, family }]
  const isPermitted = ({ address }: ResolvedAddress) =>
    guard.allows(host, address) && (url.protocol === 'https:' || isLoopbackAddress(address))
  if (addresses.length === 0 || !addresses.every(isPermitted)) throw new TargetRefused()
  return addresses
}

/**
 * Hands the socket the addresses that were judged, whatever the name has come to mean since.
 *
 * It calls back in a later turn, as a resolver does. A connect that fails at once (no route to the address) would
 * otherwise raise its error before the request listens to its socket, and end the process.
 */
function pinnedLookup(addresses: readonly ResolvedAddress[]): LookupFunction {
  return (_hostname, { all }, callback) => {
    const [first] = addresses
    process.nextTick(() => {
      if (all === true) callback(null, [...addresses])
      else callback(null, first?.address ?? '', first?.family ?? 4)
    })
  }
}

/** @returns at the end of the answer, or when enough was read, or when it breaks off: its status is known all the same */
async function drain(response: IncomingMessage): Promise<void> {
  let received = 0
  try {
    for await (const chunk of response) {
      received += Buffer.byteLength(chunk)
      if (received > ANSWER_LIMIT_BYTES) break
    }
  } catch {
    // Cut off, by its end or by ours.
  }
  response.destroy()
}
