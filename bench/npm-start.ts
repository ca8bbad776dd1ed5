import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, openSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { tokenRequest } from './connection.ts'
import { adminTokenIn, register } from './contestants.ts'
import { freePort, ROOT, untilAnswered } from './processes.ts'

/** @returns milliseconds from the second `npm start` in a folder, embedded Postgres and all, to the first token */
export async function measureNpmStart(): Promise<number> {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'grantd-bench-npm-'))
  try {
    const first = await npmStart(folder)
    const { clientId, clientSecret } = await register(first.port, await adminTokenIn(first.log))
    await first.stop()
    const started = performance.now()
    const second = await npmStart(folder)
    await untilAnswered(second.port, tokenRequest('/oauth/token', clientId, clientSecret))
    const elapsed = performance.now() - started
    await second.stop()
    return elapsed
  } finally {
    rmSync(folder, { recursive: true, force: true, maxRetries: 20 })
  }
}

/** The embedded Postgres is gone after so long. */
const STOP_PAUSE_MS = 1_000

async function npmStart(folder: string): Promise<{ port: number; log: string; stop: () => Promise<void> }> {
  const port = await freePort()
  const log = path.join(folder, 'log')
  const output = openSync(log, 'w')
  const { PATH = '', HOME = '' } = process.env
  const child = spawn('npm', ['start'], {
    cwd: ROOT,
    env: { PATH, HOME, PORT: String(port), DATA_DIR: folder },
    stdio: ['ignore', output, 'inherit'],
    // A group of its own, so that npm's signal reaches the server under it.
    detached: true
  })
  const stop = async (): Promise<void> => {
    const exited = once(child, 'exit')
    process.kill(-(child.pid ?? 0), 'SIGTERM')
    await exited
    await sleep(STOP_PAUSE_MS)
  }
  return { port, log, stop }
}
