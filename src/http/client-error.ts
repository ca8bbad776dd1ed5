import type { Socket } from 'node:net'
import type { FastifyBaseLogger } from 'fastify'
import { STATUS_CODES } from './node-http.ts'

/** Of bytes that never became a request: too large a header, too slow a one, anything else. */
const STATUSES: Record<string, number> = { HPE_HEADER_OVERFLOW: 431, ERR_HTTP_REQUEST_TIMEOUT: 408 }

type ClientError = Error & { code?: string }

/** Fastify's `clientErrorHandler`: answers as a problem, logs it, and closes the connection. */
export function clientErrorAnswerer(log: FastifyBaseLogger): (error: ClientError, socket: Socket) => void {
  return (error, socket) => {
    const status = answer(error, socket)
    // Of what was sent nothing: it may be anything.
    if (status !== undefined) log.info({ status, reason: error.code, source: socket.remoteAddress }, 'no request')
  }
}

/** @returns the status; undefined when there is nobody to tell */
function answer(error: ClientError, socket: Socket): number | undefined {
  // Reset by the other side, or an answer is under way already: there is nobody to tell.
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy()
    return undefined
  }
  const status = STATUSES[error.code ?? ''] ?? 400
  const title = STATUS_CODES[status] ?? 'Bad Request'
  const body = JSON.stringify({
    type: 'about:blank',
    title,
    status,
    code: 'invalid_request',
    detail: 'This is not an acceptable HTTP request.'
  })
  const head = [
    `HTTP/1.1 ${status} ${title}`,
    'Content-Type: application/problem+json',
    'Cache-Control: no-store',
    'X-Content-Type-Options: nosniff',
    `Content-Length: ${Buffer.byteLength(body)}`,
    'Connection: close'
  ]
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`)
  return status
}
