import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFileSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { connect } from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'

const ROOT = path.join(import.meta.dirname, '..')

/** Restores the variables of the commands before, keeps them for the next, and makes curl fail on 4xx and 5xx. */
const PRELUDE = `
exec 2> .stderr
. ./.variables
trap 'export -p > .variables' EXIT
set -a
curl() { command curl --fail-with-body "$@"; }
`
const START_ATTEMPTS = 200
const START_PAUSE_MS = 50

/** The parts of this repository that a session finds in its folder. npm needs all but the first for its scripts. */
const IN_REPOSITORY = ['examples', 'package.json', 'src', 'openapi.yaml', 'node_modules']

/**
 * Runs commands one after the other, as a person types them: variables, files and programs in the background stay. It
 * has a folder of its own, in which IN_REPOSITORY are those of the repository.
 */
export class ShellSession {
  readonly #folder = mkdtempSync(path.join(os.tmpdir(), 'grantd-session-'))
  readonly #groups: number[] = []

  constructor(variables: Readonly<Record<string, string>>) {
    for (const name of IN_REPOSITORY) symlinkSync(path.join(ROOT, name), path.join(this.#folder, name))
    for (const [name, value] of Object.entries(variables)) this.set(name, value)
  }

  /** Sets a variable of the commands that follow. */
  set(name: string, value: string): void {
    appendFileSync(path.join(this.#folder, '.variables'), `export ${name}='${value.replaceAll("'", `'\\''`)}'\n`)
  }

  /**
   * Runs a command. One that ends with `&` is a server: it has started when the port that it names in PORT takes
   * connections.
   *
   * @returns what it printed
   * @throws Error when it fails and should not, or the other way round
   */
  async run(command: string, mustFail: boolean): Promise<string> {
    const { HOME, PATH } = process.env
    const shell = spawn('sh', ['-c', `${PRELUDE}${command}`], {
      cwd: this.#folder,
      env: { HOME, PATH: `${path.dirname(process.execPath)}:${PATH}` },
      stdio: ['ignore', 'pipe', 'inherit'],
      // A group of its own, so that what it leaves in the background can be ended.
      detached: true
    })
    const [output, [status]] = await Promise.all([text(shell.stdout), once(shell, 'close')])
    if (command.endsWith('&') && shell.pid !== undefined) {
      this.#groups.push(shell.pid)
      await untilListening(Number(/\bPORT=(\d+)/.exec(command)?.[1]))
    }
    if ((status !== 0) !== mustFail) {
      const said = readFileSync(path.join(this.#folder, '.stderr'), 'utf8')
      throw new Error(`this command ${mustFail ? 'succeeded' : 'failed'}: ${command}\n${output}\n${said}`)
    }
    return output.replaceAll('\r\n', '\n').trimEnd()
  }

  /** Ends what still runs in the background, and removes the folder. */
  async end(): Promise<void> {
    for (const group of this.#groups) process.kill(-group)
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 20 })
  }
}

/** @throws Error when nothing listens at this port within 10 s */
async function untilListening(port: number): Promise<void> {
  for (let attempt = 0; attempt < START_ATTEMPTS; attempt++) {
    const socket = connect(port, '127.0.0.1')
    const isListening = await once(socket, 'connect').then(
      () => true,
      () => false
    )
    socket.destroy()
    if (isListening) return
    await sleep(START_PAUSE_MS)
  }
  throw new Error(`nothing listens at port ${port}`)
}
