import type { IncomingMessage } from 'node:http'
import { request as requestTls } from 'node:https'
import { isIP, type LookupFunction } from 'node:net'
import { withinTime } from '../../concurrency/timeout.ts'
import { request as requestPlain } from '../../http/node-http.ts'
import { type AddressGuard, hostOf, isLoopbackAddress, TargetRefused } from './address-guard.ts'
import type { Resolve, ResolvedAddress } from './resolve.ts'

export interface GuardedPostOptions {
  guard: AddressGuard
  resolve: Resolve
  /** Limit of a whole request, from resolving the name to the end of the answer, milliseconds. */
  timeoutMs: number
  /** Certificate authorities to trust instead of the system's. */
  ca?: string
}

/** Limit of a whole request to a receiver. Stripe and GitHub give webhooks about as long. */
export const WEBHOOK_TIMEOUT_MS = 10_000

/** An answer is read up to this size, so that most connections end cleanly. The rest is cut off. */
export const ANSWER_LIMIT_BYTES = 65_536

/**
 * Posts a body to a URL that an administrator of a Site chose. It resolves the host once, checks the addresses and hands
 * exactly these to the socket, so a name that changes in between leads nowhere else. It does not follow redirects.
 *
 * @returns the status of the answer; its body is dropped
 * @throws TargetRefused; the socket's error; the signal's reason; a TimeoutError
 */
export async function guardedPost(
  options: GuardedPostOptions,
  target: string,
  headers: Record<string, string>,
  body: Buffer,
  signal: AbortSignal
): Promise<number> {
  if (options.guard.urlFault(target) !== undefined) throw new TargetRefused()
  const url = new URL(target)
  const head = Promise.withResolvers<number>()
  const ended = withinTime(options.timeoutMs, signal, async cut => {
    const addresses = await permittedAddresses(options, url)
    const response = await send(options, url, addresses, headers, body, cut)
    head.resolve(response.statusCode ?? 0)
    await drain(response)
  })
  // Once the status has come it counts, even if the rest of the answer breaks off.
  await ended.catch(head.reject)
  return head.promise
}

function send(
  { ca }: GuardedPostOptions,
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
    // Never a pooled connection: its address may have been checked for another host.
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

/**
 * Resolves the host of a URL and checks its addresses.
 *
 * @throws TargetRefused when one of them is not allowed: a name with public and private addresses is not trusted
 */
export async function permittedAddresses(
  { guard, resolve }: Pick<GuardedPostOptions, 'guard' | 'resolve'>,
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
 * Makes a lookup that answers with the addresses that were checked.
 *
 * It calls back in a later turn, as a resolver does. A connect that fails at once (no route to the address) would
 * otherwise raise its error before the request listens to its socket, and end the process.
 */
function pinnedLookup(addresses: readonly ResolvedAddress[]): LookupFunction {
  return (_hostname, { all }, callback) => {
    const [first] = addresses
    setImmediate(() => {
      if (all === true) callback(null, [...addresses])
      else callback(null, first?.address ?? '', first?.family ?? 4)
    })
  }
}

/** Reads the answer until it ends, breaks off or exceeds the limit. Its status is known in any case. */
async function drain(response: IncomingMessage): Promise<void> {
  let received = 0
  try {
    for await (const chunk of response) {
      received += Buffer.byteLength(chunk)
      if (received > ANSWER_LIMIT_BYTES) break
    }
  } catch {
    // The connection was closed, by the receiver or by our time limit.
  }
  response.destroy()
}
