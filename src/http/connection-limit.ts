import type { Server } from 'node:http'
import { BlockList, isIP, type Socket } from 'node:net'
import type { FastifyBaseLogger } from 'fastify'

/** A flood of connections must not become a flood of log lines. */
const WARNING_INTERVAL_MS = 10_000
/** The largest share of the connections that one source may hold, so that it cannot shut the others out. */
const SHARE_OF_ONE_SOURCE = 1 / 2

interface ConnectionLimitOptions {
  /** Connections that may be open at once, over all servers of the process. */
  max: number
  /** Proxies carry the connections of many callers, so they may hold all. Addresses or CIDR ranges. */
  trustedProxies: readonly string[]
  log: FastifyBaseLogger
}

/** Closes connections beyond a maximum without an answer, so that memory and file descriptors are bounded. */
export class ConnectionLimit {
  readonly #max: number
  readonly #maxPerSource: number
  readonly #proxies: BlockList
  readonly #log: FastifyBaseLogger
  readonly #openBySource = new Map<string, number>()
  #open = 0
  #rejected = 0
  #warnedAt = Number.NEGATIVE_INFINITY

  constructor({ max, trustedProxies, log }: ConnectionLimitOptions) {
    this.#max = max
    this.#maxPerSource = Math.max(1, Math.floor(max * SHARE_OF_ONE_SOURCE))
    this.#proxies = blockListOf(trustedProxies)
    this.#log = log
  }

  /** Connections that are open now, and those that were rejected since the start. */
  get load(): { open: number; rejected: number } {
    return { open: this.#open, rejected: this.#rejected }
  }

  watch(server: Server): void {
    server.on('connection', socket => this.#admit(socket))
  }

  #admit(socket: Socket): void {
    const { remoteAddress: source = '' } = socket
    const fromSource = this.#openBySource.get(source) ?? 0
    const isOver = this.#open >= this.#max || (fromSource >= this.#maxPerSource && !this.#isProxy(source))
    if (isOver) {
      socket.destroy()
      this.#onRejected(source, this.#open < this.#max)
      return
    }
    this.#open++
    this.#openBySource.set(source, fromSource + 1)
    socket.once('close', () => {
      this.#open--
      const left = (this.#openBySource.get(source) ?? 1) - 1
      if (left === 0) this.#openBySource.delete(source)
      else this.#openBySource.set(source, left)
    })
  }

  #isProxy(source: string): boolean {
    const address = source.replace(/^::ffff:(?=\d+\.)/i, '')
    return this.#proxies.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4')
  }

  #onRejected(source: string, isOneSource: boolean): void {
    this.#rejected++
    if (performance.now() - this.#warnedAt < WARNING_INTERVAL_MS) return
    this.#warnedAt = performance.now()
    const fields = { maxConnections: this.#max, rejected: this.#rejected }
    if (isOneSource) {
      this.#log.warn(
        { ...fields, source },
        'one source holds its share of MAX_CONNECTIONS: a new connection was closed'
      )
    } else this.#log.warn(fields, 'MAX_CONNECTIONS are open: a new connection was closed')
  }
}

function blockListOf(ranges: readonly string[]): BlockList {
  const list = new BlockList()
  for (const range of ranges) {
    const [address = '', bits] = range.split('/')
    const family = isIP(address) === 6 ? 'ipv6' : 'ipv4'
    if (bits === undefined) list.addAddress(address, family)
    else list.addSubnet(address, Number(bits), family)
  }
  return list
}
