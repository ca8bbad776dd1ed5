import { connect } from 'node:net'

/** One keep-alive connection with at most one request under way. */
export interface Connection {
  /** @param onAnswer given the status; 0 when the connection broke */
  send: (request: Buffer, onAnswer: (status: number) => void) => void
  close: () => void
}

/** Answers are small; one that is longer comes in several pieces. */
const BUFFER_BYTES = 16_384
const HEAD_END = '\r\n\r\n'

/**
 * Speaks HTTP by hand, without streams and promises: it shares the machine with what it measures.
 *
 * @param localAddress loopback address to come from
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

/** @returns how many bytes this answer has in all; infinite while that can't be told */
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

/** Sends one request on a connection of its own. @returns the status, 0 when there is no connection */
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

/** A whole token request, authenticated in the body (RFC 6749 §2.3.1). */
export function tokenRequest(path: string, clientId: string, clientSecret: string): Buffer {
  const body = `grant_type=client_credentials&client_id=${clientId}&client_secret=${clientSecret}`
  return Buffer.from(
    `POST ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-www-form-urlencoded\r\n` +
      `Content-Length: ${body.length}\r\n\r\n${body}`
  )
}
