import type { Socket } from 'node:net'
import type { FastifyBaseLogger } from 'fastify'
import { HEADERS_LIMIT_BYTES, kib } from './limits.ts'
import { PROBLEM_TYPE, Problem, representProblem } from './problem.ts'

type ClientError = Error & { code?: string }

/**
 * Fastify's `clientErrorHandler`. Answers what is not a complete HTTP request as a problem, logs it, and closes the
 * connection.
 */
export function clientErrorAnswerer(log: FastifyBaseLogger): (error: ClientError, socket: Socket) => void {
  return (error, socket) => {
    const { remoteAddress: source } = socket
    // The caller has closed the connection, or an answer is already on its way.
    if (error.code === 'ECONNRESET' || !socket.writable) {
      socket.destroy()
      return
    }
    const problem = toProblem(error)
    send(socket, problem)
    // Nothing of what was sent is logged: it may be anything.
    log.info({ status: problem.status, reason: error.code, source }, 'malformed HTTP request')
  }
}

function toProblem({ code }: ClientError): Problem {
  if (code === 'HPE_HEADER_OVERFLOW') {
    const detail = `The headers are longer than ${kib(HEADERS_LIMIT_BYTES)} together.`
    return new Problem(431, 'headers_too_large', detail)
  }
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') {
    return new Problem(408, 'request_timeout', 'The request did not arrive completely in time.')
  }
  return new Problem(400, 'invalid_request', 'The request is not valid HTTP.')
}

function send(socket: Socket, problem: Problem): void {
  const representation = representProblem(problem)
  const body = JSON.stringify(representation)
  const head = [
    `HTTP/1.1 ${problem.status} ${representation.title}`,
    `Content-Type: ${PROBLEM_TYPE}`,
    'Cache-Control: no-store',
    'X-Content-Type-Options: nosniff',
    `Content-Length: ${Buffer.byteLength(body)}`,
    'Connection: close'
  ]
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`)
}
