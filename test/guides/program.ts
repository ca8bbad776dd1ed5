import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { createInterface } from 'node:readline'
import type { Test } from 'tap'
import type { Needs } from '../fixtures/faults/debian.ts'
import { ROOT } from '../fixtures/run/paths.ts'
import { temporaryFolder } from '../fixtures/run/process.ts'

/*
 * Takes the programs out of docs/clients.md and runs each with a driver in its own language. A driver reads lines
 * "count rejected" and gets so many tokens at once, as the threads of a service do. It answers with one line, in which
 * tabs separate tokens and errors.
 */

export const PAGE = path.join(ROOT, 'docs/clients.md')
const DRIVERS = path.join(import.meta.dirname, 'drivers')

interface Language {
  /** Language of its block in the page. */
  block: string
  needs: Needs
  /** Name of the file of the program, and of the file of its driver, below the folder of a run. */
  files: { program: string; driver?: string }
  /** Commands that compile them. */
  compile?: readonly (readonly string[])[]
  run: readonly string[]
}

/** Each program by its heading in the page. */
export const LANGUAGES = {
  TypeScript: {
    ...{ block: 'ts', needs: {}, files: { program: 'client.ts', driver: 'driver.ts' } },
    run: [process.execPath, 'driver.ts', 'client.ts']
  },
  Python: {
    ...{ block: 'python', needs: { '/usr/bin/python3': 'python3' } },
    files: { program: 'client.py', driver: 'driver.py' },
    run: ['/usr/bin/python3', 'driver.py']
  },
  Go: {
    ...{ block: 'go', needs: { go: 'golang-go' } },
    files: { program: 'src/guide/client/client.go', driver: 'src/guide/driver.go' },
    compile: [['go', 'build', '-o', 'driver', 'guide']],
    run: ['./driver']
  },
  Java: {
    ...{ block: 'java', needs: { java: 'default-jre-headless', javac: 'default-jdk-headless' } },
    files: { program: 'GrantdClient.java', driver: 'Driver.java' },
    compile: [['javac', 'GrantdClient.java', 'Driver.java']],
    run: ['java', 'Driver']
  },
  curl: {
    ...{ block: 'bash', needs: { curl: 'curl', flock: 'util-linux' } },
    files: { program: 'client.sh', driver: 'driver.sh' },
    run: ['bash', 'driver.sh', 'client.sh']
  }
} as const satisfies Record<string, Language>

export type LanguageName = keyof typeof LANGUAGES

/** The values of a reader in the page, and what stands in their place in a run. */
export interface Values {
  baseUrl: string
  clientId: string
  /** File of the secret or of the private key. */
  credentialFile: string
}

/** Returns the block of this language below a heading of the page. @throws Error when there is none */
export function blockBelow(heading: string, language: string): string {
  const [, below = ''] = readFileSync(PAGE, 'utf8').split(`\n### ${heading}\n`)
  const [, block] = new RegExp(`\`\`\`${language}\\n([\\s\\S]*?)\`\`\``).exec(below.split('\n## ')[0] ?? '') ?? []
  if (block === undefined) throw new Error(`${PAGE} has no block ${language} below "### ${heading}"`)
  return block
}

/** A running program of the page. It ends with the test. */
export interface Program {
  /** Gets tokens at once. @param rejected a token that the API has refused @returns tokens, and errors as `error: …` */
  get: (count: number, rejected?: string) => Promise<string[]>
  /** Returns what it has printed for its operator. */
  log: () => string
}

/**
 * Starts a program.
 *
 * @param program its text, by default that of the page
 * @param folder where it runs. Its user's files are there too
 */
export function startProgram(
  t: Test,
  name: LanguageName,
  { baseUrl, clientId, credentialFile }: Values,
  program = blockBelow(name, LANGUAGES[name].block),
  folder = temporaryFolder(t)
): Program {
  const language: Language = LANGUAGES[name]
  const text = Object.entries({
    'https://grantd.example.com': baseUrl,
    k3v9x2m7q1w8z5t4r6y0: clientId,
    '/run/secrets/grantd': credentialFile
  }).reduce((text, [shown, real]) => {
    if (!text.includes(shown)) throw new Error(`the program in ${name} has no ${shown}`)
    return text.replaceAll(shown, real)
  }, program)
  const { program: file, driver } = language.files
  mkdirSync(path.dirname(path.join(folder, file)), { recursive: true })
  writeFileSync(path.join(folder, file), text)
  if (driver !== undefined) copyFileSync(path.join(DRIVERS, path.basename(driver)), path.join(folder, driver))
  const env = environmentIn(folder)
  for (const [command = '', ...args] of language.compile ?? []) {
    const { status, stderr } = spawnSync(command, args, { cwd: folder, env, encoding: 'utf8' })
    if (status !== 0) throw new Error(`the program in ${name} does not compile: ${stderr}`)
  }
  const [command, ...args] = language.run
  return conversation(t, spawn(command ?? '', args, { cwd: folder, env }))
}

/** Go looks for packages and keeps what it has built below the folder. */
function environmentIn(folder: string): Record<string, string> {
  const { PATH = '' } = process.env
  const go = { GOPATH: folder, GO111MODULE: 'off', GOCACHE: path.join(ROOT, 'node_modules/.cache/go'), GOFLAGS: '' }
  return { PATH, HOME: folder, XDG_RUNTIME_DIR: folder, PYTHONDONTWRITEBYTECODE: '1', ...go }
}

function conversation(t: Test, child: ChildProcess): Program {
  const { stdin, stdout, stderr } = child
  if (stdin === null || stdout === null || stderr === null) throw new Error('the program has no pipes')
  let log = ''
  stderr.on('data', chunk => (log += chunk))
  t.teardown(() => child.kill('SIGKILL'))
  const lines = createInterface(stdout)[Symbol.asyncIterator]()
  return {
    get: async (count, rejected = '-') => {
      stdin.write(`${count} ${rejected}\n`)
      const { value, done } = await lines.next()
      if (done === true) throw new Error(`the program ended: ${log}`)
      return value.split('\t')
    },
    log: () => log
  }
}
