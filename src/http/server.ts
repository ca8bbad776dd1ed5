import type { RequestListener, Server } from 'node:http'
import Fastify, { type FastifyBaseLogger, type FastifyInstance, LogController } from 'fastify'
import type { Registry } from '../metrics/registry.ts'
import { AsciiResponse } from './ascii-response.ts'
import { clientErrorAnswerer } from './client-error.ts'
import { withCommonHeaders } from './common-hooks.ts'
import { ConnectionLimit } from './connection-limit.ts'
import type { Drain } from './drain.ts'
import { BODY_LIMIT_BYTES, HEADERS_LIMIT_BYTES } from './limits.ts'
import { measureConnections } from './metrics.ts'
import { createServer as createHttpServer } from './node-http.ts'
import { problemErrorHandler } from './problem.ts'
import { requestId } from './request-log.ts'
import { normaliseForwardedFor } from './source.ts'

const HEADERS_TIMEOUT_MS = 10_000
const REQUEST_TIMEOUT_MS = 15_000
/** A connection is closed when it has been silent for this long before or during a request. */
const SILENCE_TIMEOUT_MS = 30_000
/** How often Node looks for requests that take too long. */
const TIMEOUT_CHECK_INTERVAL_MS = 1_000

interface ServerOptions {
  log: FastifyBaseLogger
  metrics: Registry
  drain: Drain
  /** Connections that may be open at once, over all workers of the instance. */
  maxConnections: number
  workers: number
  /** How long an idle connection stays open after an answer, seconds. */
  keepAliveSeconds: number
  /** Addresses or CIDR ranges of proxies whose X-Forwarded-For is trusted. */
  trustedProxies: readonly string[]
  /** Options of the validator of requests. */
  ajvOptions: {
    coerceTypes: boolean
    removeAdditional: boolean
    useDefaults: boolean
    allErrors: boolean
    verbose: boolean
    /** Keywords of schemas that the validator passes over. */
    keywords: string[]
  }
}

/** Creates the server that callers reach, with its limits and without routes. */
export function createServer(options: ServerOptions): FastifyInstance {
  const { log, trustedProxies } = options
  return Fastify({
    serverFactory: serverFactory(options),
    loggerInstance: log,
    logController: new LogController({ disableRequestLogging: true }),
    // One logger for all requests. Creating one for each costs more than the line that it writes.
    childLoggerFactory: logger => logger,
    genReqId: requestId,
    bodyLimit: BODY_LIMIT_BYTES,
    // An id that is too long does not exist, so it is 404. The limit on headers bounds the URL.
    routerOptions: { maxParamLength: HEADERS_LIMIT_BYTES },
    trustProxy: trustedProxies.length > 0 ? [...trustedProxies] : false,
    ajv: { customOptions: options.ajvOptions },
    // Answers are serialized as they are, and the tests check them against openapi.yaml. Compiling the schema of each
    // answer would take a third of the start-up time.
    schemaController: { compilersFactory: { buildSerializer: () => () => JSON.stringify } },
    // For a malformed URL. No hook has run for such a request.
    frameworkErrors: (error, request, reply) => problemErrorHandler(error, request, withCommonHeaders(reply)),
    // Fastify adds it to one server only. `serverFactory` adds ours to each.
    clientErrorHandler: () => {},
    // Requests that arrive during the shutdown are answered.
    return503OnClosing: false
  })
}

/** Fastify calls it once, and once more for HOST=localhost, which is two addresses. The limits hold over both. */
function serverFactory(options: ServerOptions): (handler: RequestListener) => Server {
  const { log, metrics, drain, maxConnections, workers, keepAliveSeconds, trustedProxies } = options
  const limit = new ConnectionLimit({ max: Math.ceil(maxConnections / workers), trustedProxies, log })
  measureConnections(metrics, limit)
  return handler => {
    const handle: RequestListener = (request, response) => {
      if (trustedProxies.length > 0) normaliseForwardedFor(request)
      handler(request, response)
    }
    const server = createHttpServer(
      {
        ServerResponse: AsciiResponse,
        requestTimeout: REQUEST_TIMEOUT_MS,
        headersTimeout: HEADERS_TIMEOUT_MS,
        keepAliveTimeout: keepAliveSeconds * 1_000,
        connectionsCheckingInterval: TIMEOUT_CHECK_INTERVAL_MS,
        maxHeaderSize: HEADERS_LIMIT_BYTES,
        // Node joins a second Authorization header to the first with a comma, so that it is noticed and refused.
        joinDuplicateHeaders: true
      },
      handle
    )
    server.setTimeout(SILENCE_TIMEOUT_MS)
    server.on('clientError', clientErrorAnswerer(log))
    // Node would refuse an unknown expectation without a log line. Meeting it is not required (RFC 9110 §10.1.1).
    server.on('checkExpectation', handle)
    limit.watch(server)
    drain.addServer(server)
    return server
  }
}
