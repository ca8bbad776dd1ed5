import { isatty } from 'node:tty'
import type { Shutdown } from './shutdown.ts'

const STANDARD_OUTPUT = 1

/**
 * Runs `reload` on SIGHUP. A terminal sends SIGHUP when it is closed, and then the process shuts down.
 *
 * @param reload undefined when nothing can be read again, so that SIGHUP always shuts down
 */
export function reloadOnHangUp(shutdown: Shutdown, reload: (() => void) | undefined): void {
  // Asked now: a terminal that is closed looks like a file.
  const hasTerminal = isatty(STANDARD_OUTPUT)
  process.on('SIGHUP', hasTerminal || reload === undefined ? () => void shutdown.start() : reload)
}
