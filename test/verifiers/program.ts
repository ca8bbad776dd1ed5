import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Test } from 'tap'

/** Starts a program of a test, which ends with it. Only PATH and the given variables are in its environment. */
export function startProgram(
  t: Test,
  command: string,
  args: readonly string[],
  environment: Record<string, string> = {}
): ChildProcess {
  const { PATH = '' } = process.env
  const child = spawn(command, args, { env: { PATH, ...environment }, stdio: ['ignore', 'ignore', 'inherit'] })
  const exited = once(child, 'exit')
  t.teardown(async () => {
    child.kill('SIGTERM')
    await exited
  })
  return child
}
