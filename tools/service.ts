import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'

const ROOT = path.join(import.meta.dirname, '..')

/** A grantd in development mode. */
export interface RunningService {
  baseUrl: string
  metricsUrl: string
  /** Token of a Global Administrator. */
  adminToken: string
  stop: () => Promise<void>
}

/**
 * Starts grantd on an empty data folder.
 *
 * @param environment of it, beside its folder and ports
 * @throws Error when it ends before it listens
 */
export async function startService(environment: Record<string, string> = {}): Promise<RunningService> {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'grantd-docs-'))
  const [port, metricsPort] = [await freePort(), await freePort()]
  const service = spawn(process.execPath, ['src/commands/start.ts'], {
    cwd: ROOT,
    env: {
      ...{ PATH: process.env['PATH'], NODE_COMPILE_CACHE: 'node_modules/.cache/compile', ...environment },
      ...{ DATA_DIR: folder, PORT: String(port), METRICS_PORT: String(metricsPort) }
    },
    stdio: ['ignore', 'pipe', 'inherit']
  })
  const closed = once(service, 'close')
  const stop = async () => {
    service.kill('SIGTERM')
    await closed
    rmSync(folder, { recursive: true, force: true, maxRetries: 20 })
  }
  const said: string[] = []
  for await (const line of createInterface(service.stdout)) {
    said.push(line)
    if (/^eyJ\S+$/.test(line)) {
      service.stdout.resume()
      const baseUrl = `http://127.0.0.1:${port}`
      await untilReady(baseUrl)
      return {
        baseUrl,
        metricsUrl: `http://127.0.0.1:${metricsPort}/metrics`,
        adminToken: line,
        stop
      }
    }
  }
  await stop()
  throw new Error(`grantd ended without printing an admin token:\n${said.join('\n')}`)
}

/** Returns when grantd is connected to its database, or after ten seconds. */
async function untilReady(baseUrl: string): Promise<void> {
  for (let attempt = 0; attempt < 100; attempt++) {
    if ((await fetch(`${baseUrl}/health/ready`)).ok) return
    await sleep(100)
  }
}

/** Returns a port of this machine that nothing uses. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  await new Promise(resolve => server.close(resolve))
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}
