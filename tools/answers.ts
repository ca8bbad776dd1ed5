import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Platform } from './platform.ts'
import { type RunningService, startService } from './service.ts'
import { ShellSession } from './shell-session.ts'
import { StandIns } from './stand-ins.ts'

/**
 * Runs the commands of README.md and of pages in docs/ against a real service, and writes their answers below them.
 *
 *   node tools/answers.ts                      # all pages
 *   node tools/answers.ts docs/administer.md   # one page
 */

const ROOT = path.join(import.meta.dirname, '..')

export const PAGES = [
  'README.md',
  'docs/administer.md',
  'docs/declare.md',
  'docs/command-line.md',
  'docs/notices.md',
  'docs/clients.md',
  'docs/resource-servers.md',
  'docs/introspection.md',
  'docs/workload-identity.md',
  'docs/dpop.md',
  'docs/audit.md'
]

/**
 * A block of the language "console" is run, and a block of the language "sh" is not. The commands of "console refused"
 * must get an answer of 4xx, and all others must succeed.
 */
const BLOCK = /^( *)```console( refused)?\n([\s\S]*?)^ *```$/gm
/**
 * A command follows "$ ". It goes on in the next line after a backslash, and up to the line END after `<<'END'`. Its answer
 * reaches to the next command.
 */
const COMMAND = /^\$ (.*<<'END'\n[\s\S]*?^END|.*(?:(?<=\\)\n.*)*)\n((?:(?!\$ ).*\n)*)/gm
const LINE_LENGTH = 118

/**
 * A reading is repeated while it differs from the page, because some of what a request leaves is written after its
 * answer: a notice, for example, or the refusal that a diagnosis shows.
 */
const READ_ATTEMPTS = 40
const READ_PAUSE_MS = 100
const WRITES = /\s(-X|-d|--data\S*)\s|&$|\bapply -- |\bcli -- (?!get|list|diagnose)/

/** Receivers on this machine are allowed, and get their notices at once. */
const ENVIRONMENT = { NOTICE_WEBHOOK_ALLOW: '127.0.0.1', NOTICE_INTERVAL_SECONDS: '1' }

/** Returns a page as it stands. @param name one of PAGES */
export function readPage(name: string): string {
  return readFileSync(path.join(ROOT, name), 'utf8')
}

/**
 * Runs the commands of a page, in their order, in one shell session with a service whose database is empty.
 *
 * Each string member of an answer is a variable in the commands that follow: `clientId` is `$CLIENT_ID`.
 *
 * @param databaseUrl of an empty database; by default, the service starts one of its own
 * @returns the page with the answers of now, in which stand-ins replace what differs from run to run
 * @throws Error when a command fails that should succeed, or the other way round
 */
export async function withAnswers(page: string, databaseUrl?: string): Promise<string> {
  const platform = new Platform()
  const service = await startService({
    ...ENVIRONMENT,
    FEDERATED_ISSUERS: platform.trusted,
    ...(databaseUrl !== undefined && { DATABASE_URL: databaseUrl })
  })
  const standIns = await StandIns.create(service.baseUrl)
  const session = new ShellSession({
    ADMIN_TOKEN: service.adminToken,
    GLOBAL_ADMIN_TOKEN: service.adminToken,
    WORKLOAD_TOKEN: await platform.sign(service.baseUrl),
    TOKEN_FOR_ANOTHER_API: await platform.sign('https://api.example.com')
  })
  try {
    let result = ''
    let end = 0
    for (const { index, 0: block, 1: indent = '', 2: refused, 3: inner = '' } of page.matchAll(BLOCK)) {
      const options = {
        ...{ service, session, standIns },
        isRefused: refused !== undefined,
        lineLength: LINE_LENGTH - indent.length
      }
      const [firstLine = ''] = block.split('\n', 1)
      const lines = await answerBlock(withoutIndent(inner, indent), options)
      const indented = lines.map(line => (line === '' ? '' : indent + line))
      result += [page.slice(end, index) + firstLine, ...indented, `${indent}\`\`\``].join('\n')
      end = index + block.length
    }
    return result + page.slice(end)
  } finally {
    await session.end()
    await service.stop()
    platform.remove()
  }
}

/** A block within a list is indented. */
function withoutIndent(text: string, indent: string): string {
  return text.replaceAll(/^ +/gm, spaces => spaces.slice(indent.length))
}

interface BlockOptions {
  service: RunningService
  session: ShellSession
  standIns: StandIns
  isRefused: boolean
  lineLength: number
}

/** Returns the lines of a block with the answers of now. An answer is followed by an empty line, unless it is the last. */
async function answerBlock(block: string, options: BlockOptions): Promise<string[]> {
  const lines: string[] = []
  for (const [, command = '', shown = ''] of block.matchAll(COMMAND)) {
    const answer = await answerCommand(command, shown.trimEnd(), options)
    lines.push(...`$ ${command}`.split('\n'), ...answer, ...(answer.length > 0 ? [''] : []))
  }
  return lines.at(-1) === '' ? lines.slice(0, -1) : lines
}

async function answerCommand(
  command: string,
  shown: string,
  { service, session, standIns, isRefused, lineLength }: BlockOptions
): Promise<string[]> {
  const attempts = WRITES.test(command) ? 1 : READ_ATTEMPTS
  let answer: string[] = []
  for (let attempt = 1; attempt <= attempts; attempt++) {
    const output = await session.run(standIns.toReal(command), isRefused)
    takeVariables(session, output)
    answer = standIns
      .toPage(output)
      .split('\n')
      .flatMap(line => wrapped(line, lineLength))
    if (answer.join('\n') === shown) break
    if (attempt < attempts) await sleep(READ_PAUSE_MS)
  }
  if (/\/oauth\/token|exchangeCredentials/.test(command)) await untilUseIsWritten(service)
  return answer.join('\n') === '' ? [] : answer
}

/** On a busy machine a token leaves before its use is written. A change that follows would answer without that use. */
async function untilUseIsWritten({ metricsUrl }: RunningService): Promise<void> {
  for (let attempt = 0; attempt < READ_ATTEMPTS; attempt++) {
    if (/^grantd_last_used_waiting 0$/m.test(await (await fetch(metricsUrl)).text())) return
    await sleep(READ_PAUSE_MS)
  }
  throw new Error('Last used is not written')
}

/** As a reader does, takes the ids and secrets of an answer for the commands that follow. */
function takeVariables(session: ShellSession, output: string): void {
  const documents = output.startsWith('{\n') ? [output] : output.split('\n').filter(line => line.startsWith('{'))
  for (const document of documents) {
    for (const [member, value] of Object.entries(JSON.parse(document))) {
      if (typeof value === 'string') session.set(member.replaceAll(/[A-Z]/g, '_$&').toUpperCase(), value)
    }
  }
}

/** Breaks a line of JSON between members. */
function wrapped(line: string, length: number): string[] {
  const lines: string[] = []
  for (const piece of line.startsWith('{') ? line.split(/(?<=,)(?=["{])/) : [line]) {
    const last = lines.at(-1)
    if (last !== undefined && last.length + piece.length <= length) lines[lines.length - 1] = last + piece
    else lines.push(lines.length === 0 ? piece : ` ${piece}`)
  }
  return lines
}

if (process.argv[1] === import.meta.filename) {
  const [, , ...names] = process.argv
  for (const name of names.length > 0 ? names : PAGES) {
    writeFileSync(path.join(ROOT, name), await withAnswers(readPage(name)))
  }
}
