import { execFile } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { startService } from './service.ts'

/** Runs the curl lines of README.md against a real service and writes what they print below them. */

export const README_FILE = path.join(import.meta.dirname, '../README.md')

const SAMPLE = /(<!-- sample: npm run docs -->\n+```\n)([\s\S]*?)(```\n+<!-- end -->)/
const BASE_URL = 'http://127.0.0.1:3000'
const LINE_LENGTH = 118
const YEAR_MS = 365 * 86_400_000
const READ_ATTEMPTS = 50
const READ_PAUSE_MS = 100

/** Values that differ from run to run, and what stands in the README for each. */
const NORMALISED = new Map([
  ['clientId', 'p3u0su4j28l4d1tdodm3'],
  ['clientSecret', 'grantd_8JJ5yyr9xAUXdpVAwnJyVazybSYOdgaCzQDZLYgNQsg0bvpzT'],
  ['access_token', 'eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJFUzI1NiIsImtpZCI6Inp…'],
  ['registeredAt', '2026-11-27T08:00:00.000Z'],
  ['createdAt', '2026-11-27T08:00:00.000Z'],
  ['lastUsedAt', '2026-11-27T08:00:05.000Z'],
  ['expiresAt', '2027-11-27T08:00:00.000Z']
])

/**
 * Starts grantd on an empty data folder, runs each `$ …` line of the README's sample in a shell, and returns the README
 * with the normalised answers.
 */
export async function withSample(readme: string): Promise<string> {
  const [, start = '', sample = '', end = ''] = SAMPLE.exec(readme) ?? []
  const commands = [...sample.matchAll(/^\$ (.*(?:(?<=\\)\n.*)*)$/gm)].map(([, command = '']) => command)
  const { baseUrl, adminToken, stop } = await startService()
  try {
    let environment = { ADMIN_TOKEN: adminToken }
    const parts: string[] = []
    for (const command of commands) {
      const answer = await runUntilUsed(command, baseUrl, environment)
      const { clientId, clientSecret } = answer
      if (clientSecret !== undefined)
        environment = { ...environment, ...{ CLIENT_ID: clientId, CLIENT_SECRET: clientSecret } }
      parts.push(`$ ${command}\n${wrapped(JSON.stringify(normalised(answer)))}\n`)
    }
    return readme.replace(SAMPLE, () => `${start}${parts.join('\n')}${end}`)
  } finally {
    await stop()
  }
}

/** On a busy machine a token leaves before its use is written. A reading is then repeated until it shows the use. */
async function runUntilUsed(...args: Parameters<typeof run>): ReturnType<typeof run> {
  const [command] = args
  let answer = await run(...args)
  for (
    let attempt = 0;
    attempt < READ_ATTEMPTS && !command.includes(' -d ') && answer['lastUsedAt'] === null;
    attempt++
  ) {
    await sleep(READ_PAUSE_MS)
    answer = await run(...args)
  }
  return answer
}

async function run(
  command: string,
  baseUrl: string,
  environment: Record<string, string>
): Promise<Record<string, string>> {
  const now = command
    .replace(BASE_URL, baseUrl)
    .replace(NORMALISED.get('expiresAt') ?? '', new Date(Date.now() + YEAR_MS).toISOString())
  const { stdout } = await promisify(execFile)('sh', ['-c', now], { env: { ...process.env, ...environment } })
  return JSON.parse(stdout)
}

/** Replaces the values that differ from run to run. A value that should be there and is not stays as it is. */
function normalised(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value), (name, member) => {
    return typeof member === 'string' ? (NORMALISED.get(name) ?? member) : member
  })
}

/** Breaks a line of JSON between members. */
function wrapped(json: string): string {
  const lines: string[] = []
  for (const piece of json.split(/(?<=,)(?=")/)) {
    const last = lines.at(-1)
    if (last !== undefined && last.length + piece.length <= LINE_LENGTH) lines[lines.length - 1] = last + piece
    else lines.push(lines.length === 0 ? piece : ` ${piece}`)
  }
  return lines.join('\n')
}

if (process.argv[1] === import.meta.filename) {
  writeFileSync(README_FILE, await withSample(readFileSync(README_FILE, 'utf8')))
}
