import { once } from 'node:events'
import type { Server } from 'node:http'
import { createServer } from '../http/node-http.ts'
import { EXPOSITION_TYPE, expose, type Family } from './registry.ts'

export interface MetricsListener {
  close: () => Promise<void>
}

interface Answers {
  read: () => Promise<readonly Family[]>
  /** Can the service do its work now? */
  isReady: () => Promise<boolean>
}

/** Nobody who scrapes takes longer to ask, or asks for more. */
const REQUEST_TIMEOUT_MS = 5_000
const HEADERS_LIMIT_BYTES = 8_192
/** Of a few scrapers and probes. */
const MAX_CONNECTIONS = 64

/**
 * Serves `/metrics` on a port of its own, away from callers; also `/health/live` and `/health/ready`, which answer
 * there while callers keep the other port busy.
 *
 * @throws Error that names METRICS_PORT when it can't listen
 */
export async function listenForScrapes(
  { host, port }: { host: string; port: number },
  answers: Answers
): Promise<MetricsListener> {
  const server = createServer({
    requestTimeout: REQUEST_TIMEOUT_MS,
    headersTimeout: REQUEST_TIMEOUT_MS,
    connectionsCheckingInterval: 1_000,
    maxHeaderSize: HEADERS_LIMIT_BYTES
  })
  server.maxConnections = MAX_CONNECTIONS
  server.on('request', async ({ method = '', url = '' }, response) => {
    const answer = await answerTo(method, url.split('?', 1)[0] ?? '', answers).catch(() => refusal(500, 'server_error'))
    response.writeHead(answer.status, {
      'content-type': answer.type ?? JSON_TYPE,
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff'
    })
    response.end(answer.body)
  })
  await listen(server, host, port)
  return {
    close: async () => {
      if (!server.listening) return
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    }
  }
}

async function listen(server: Server, host: string, port: number): Promise<void> {
  server.listen(port, host)
  try {
    await once(server, 'listening')
  } catch (error) {
    const isTaken = error instanceof Error && 'code' in error && error.code === 'EADDRINUSE'
    const advice = isTaken
      ? '. Perhaps by another instance: give each a METRICS_PORT of its own, or METRICS_PORT=0 for no metrics.'
      : ''
    throw new Error(
      `${isTaken ? 'METRICS_PORT' : 'HOST and METRICS_PORT'}: ${error instanceof Error ? error.message : String(error)}${advice}`
    )
  }
}

interface MetricsAnswer {
  status: number
  body: string
  type?: string
}

const JSON_TYPE = 'application/json; charset=utf-8'
const health = (isWell: boolean): MetricsAnswer => ({
  status: isWell ? 200 : 503,
  body: JSON.stringify({ status: isWell ? 'ok' : 'unavailable' })
})
const refusal = (status: number, code: string): MetricsAnswer => ({ status, body: JSON.stringify({ code }) })

async function answerTo(method: string, path: string, { read, isReady }: Answers): Promise<MetricsAnswer> {
  if (!['/metrics', '/health/live', '/health/ready'].includes(path)) return refusal(404, 'not_found')
  if (method !== 'GET' && method !== 'HEAD') return refusal(405, 'method_not_allowed')
  if (path === '/health/live') return health(true)
  if (path === '/health/ready') return health(await isReady())
  return { status: 200, body: expose(await read()), type: EXPOSITION_TYPE }
}
