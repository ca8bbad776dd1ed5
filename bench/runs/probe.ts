import { existsSync, readFileSync, rmSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ServerProcess } from '../contestants/processes.ts'

const TIMEOUT_MS = 30_000
const POLL_INTERVAL_MS = 20

/** Signals the probe that was loaded into a server. Returns the content of the file that the probe then writes. */
export async function readProbe({ pid }: ServerProcess, file: string): Promise<string> {
  rmSync(file, { force: true })
  process.kill(pid, 'SIGUSR2')
  for (const deadline = Date.now() + TIMEOUT_MS; !existsSync(file); await sleep(POLL_INTERVAL_MS)) {
    if (Date.now() > deadline) throw new Error('the probe in the server does not answer')
  }
  return readFileSync(file, 'utf8')
}
