import { connect } from 'node:net'

/** A keep-alive connection that has at most one request in progress. */
export interface Connection {
  /** @param onAnswer called with the status, or with 0 when the connection broke */
  send: (request: Buffer, onAnswer: (status: number) => void) => void
  close: () => void
}

/** An answer that is longer arrives in several pieces. */
const BUFFER_BYTES = 16_384
const HEAD_END = '\r\n\r\n'

/**
 * Opens a connection that speaks HTTP by hand, without streams and promises. The generator shares the machine with the
 * server that it measures, so it must cost little.
 *
 * @param localAddress loopback address to connect from
 */
export function openConnection(port: number, localAddress = '127.0.0.1'): Promise<Connection> {
  const opened = Promise.withResolvers<Connection>()
  let onAnswer: ((status: number) => void) | undefined
  let earlier: Buffer | undefined
  const answer = (status: number): void => {
    const waiting = onAnswer
    onAnswer = undefined
    waiting?.(status)
  }
  const buffer = Buffer.allocUnsafe(BUFFER_BYTES)
  const socket = connect({
    host: '127.0.0.1',
    port,
    localAddress,
    noDelay: true,
    onread: {
      buffer,
      callback: bytes => {
        const piece = buffer.subarray(0, bytes)
        const received = earlier === undefined ? piece : Buffer.concat([earlier, piece])
        const isWhole = received.length >= answerLength(received)
        earlier = isWhole ? undefined : Buffer.from(received)
        if (isWhole) answer(statusOf(received))
        return true
      }
    }
  })
  socket.on('error', opened.reject)
  socket.on('close', () => answer(0))
  socket.on('connect', () =>
    opened.resolve({
      send: (request, callback) => {
        onAnswer = callback
        if (socket.destroyed) answer(0)
        else socket.write(request)
      },
      close: () => socket.destroy()
    })
  )
  return opened.promise
}

/** Returns the length of the whole answer in bytes, or infinity until its head has arrived. */
export function answerLength(received: Buffer): number {
  const end = received.indexOf(HEAD_END, 0, 'latin1')
  if (end < 0) return Number.POSITIVE_INFINITY
  const [, length] = /\r\ncontent-length: *(\d+)/i.exec(received.toString('latin1', 0, end)) ?? []
  if (length === undefined) throw new Error('an answer without Content-Length')
  return end + HEAD_END.length + Number(length)
}

export function statusOf(received: Buffer): number {
  return Number(received.toString('latin1', 9, 12))
}

/** Sends one request on a new connection. Returns the status, or 0 when there is no answer. */
export async function sendOnce(port: number, request: Buffer): Promise<number> {
  try {
    const connection = await openConnection(port)
    const status = await new Promise<number>(resolve => connection.send(request, resolve))
    connection.close()
    return status
  } catch {
    return 0
  }
}

/**
 * Returns a whole token request with the client's credentials in its body (RFC 6749 §2.3.1).
 *
 * @param extra more of the form, encoded
 */
export function tokenRequest(path: string, clientId: string, clientSecret: string, extra = ''): Buffer {
  return formRequest(path, `grant_type=client_credentials&client_id=${clientId}&client_secret=${clientSecret}${extra}`)
}

/** Returns the bytes of a request with a form. @param body in ASCII */
export function formRequest(path: string, body: string): Buffer {
  return Buffer.from(
    `POST ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-www-form-urlencoded\r\n` +
      `Content-Length: ${body.length}\r\n\r\n${body}`
  )
}
