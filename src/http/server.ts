import Fastify, { type FastifyBaseLogger, type FastifyInstance, LogController } from 'fastify'
import { clientErrorAnswerer } from './client-error.ts'
import { withCommonHeaders } from './common-hooks.ts'
import { BODY_LIMIT_BYTES, HEADERS_LIMIT_BYTES } from './limits.ts'
import { problemErrorHandler } from './problem.ts'
import { requestId } from './request-log.ts'

const HEADERS_TIMEOUT_MS = 10_000
const REQUEST_TIMEOUT_MS = 15_000
/** A connection is closed when it has been silent for this long and no request is in progress on it. */
const IDLE_TIMEOUT_MS = 30_000
/** How often Node looks for requests that take too long. */
const TIMEOUT_CHECK_INTERVAL_MS = 1_000

interface ServerOptions {
  log: FastifyBaseLogger
  /** Addresses of proxies whose X-Forwarded-For is trusted. */
  trustedProxies: readonly string[]
  /** Options of the validator of requests. */
  ajvOptions: {
    coerceTypes: boolean
    removeAdditional: boolean
    useDefaults: boolean
    allErrors: boolean
    verbose: boolean
  }
}

/** Creates the HTTP server with its limits and without routes. */
export function createServer({ log, trustedProxies, ajvOptions }: ServerOptions): FastifyInstance {
  return Fastify({
    loggerInstance: log,
    logController: new LogController({ disableRequestLogging: true }),
    // One logger for all requests. Creating one for each costs more than the line that it writes.
    childLoggerFactory: logger => logger,
    genReqId: requestId,
    bodyLimit: BODY_LIMIT_BYTES,
    // An id that is too long does not exist, so it is 404. The limit on headers bounds the URL.
    routerOptions: { maxParamLength: HEADERS_LIMIT_BYTES },
    requestTimeout: REQUEST_TIMEOUT_MS,
    connectionTimeout: IDLE_TIMEOUT_MS,
    trustProxy: trustedProxies.length > 0 ? [...trustedProxies] : false,
    ajv: { customOptions: ajvOptions },
    // Answers are serialized as they are, and the tests check them against openapi.yaml. Compiling the schema of each
    // answer would take a third of the start-up time.
    schemaController: { compilersFactory: { buildSerializer: () => () => JSON.stringify } },
    // For a malformed URL. No hook has run for such a request.
    frameworkErrors: (error, request, reply) => problemErrorHandler(error, request, withCommonHeaders(reply)),
    clientErrorHandler: clientErrorAnswerer(log),
    // Requests that arrive during the shutdown are answered.
    return503OnClosing: false,
    http: {
      headersTimeout: HEADERS_TIMEOUT_MS,
      connectionsCheckingInterval: TIMEOUT_CHECK_INTERVAL_MS,
      maxHeaderSize: HEADERS_LIMIT_BYTES,
      // Node joins a second Authorization header to the first with a comma, so that it is noticed and refused.
      joinDuplicateHeaders: true
    }
  })
}
