import { once } from 'node:events'
import type { Server } from 'node:http'
import { EXPOSITION_TYPE, expose, type Family } from './registry.ts'

/** As CommonJS has it: an import of node:http loads undici too, which adds 30 ms to the start. */
const { createServer } = process.getBuiltinModule('node:http')

export interface MetricsListener {
  close: () => Promise<void>
}

interface Answers {
  read: () => Promise<readonly Family[]>
  /** Whether the service can answer requests now. */
  isReady: () => Promise<boolean>
}

/** Bounds for the few scrapers and probes that use this port. */
const REQUEST_TIMEOUT_MS = 5_000
const HEADERS_LIMIT_BYTES = 8_192
const MAX_CONNECTIONS = 64

/**
 * Serves `/metrics` on a separate port. `/health/live` and `/health/ready` are served there too, so that they answer
 * while callers keep the main port busy.
 *
 * @throws Error that names METRICS_PORT when the port cannot be opened
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
      ? '. Another instance may use it. Give each instance its own METRICS_PORT, or turn metrics off with METRICS_PORT=0.'
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
