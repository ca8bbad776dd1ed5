import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { inDays } from '../fixtures/app/registration.ts'
import { ROOT } from '../fixtures/run/paths.ts'
import { spawnServer, temporaryFolder, untilPrinted, untilReady } from '../fixtures/run/process.ts'

/** Makes curl fail on a status of 4xx and 5xx, and replaces a program that not every machine has. */
const PRELUDE = `
set -eu
curl() { command curl --fail-with-body "$@"; }
uuidgen() { echo 0b3f7d52-4b8e-4c56-9d0b-91f0a7c3e5d1; }
`

/** Returns the shell commands of a page that call curl. */
function commandsOf(page: string): string[] {
  const text = readFileSync(path.join(ROOT, 'docs', page), 'utf8')
  const blocks = [...text.matchAll(/^ *```sh\n([\s\S]*?)^ *```$/gm)].map(([, block = '']) => block)
  return blocks.filter(block => block.includes('curl'))
}

t.test('every curl command of the pages for administrators and clients works, in the order of the page', async t => {
  const DATA_DIR = temporaryFolder(t)
  const server = await spawnServer(t, { DATA_DIR, NOTICE_WEBHOOK_ALLOW: 'localhost' })
  await untilPrinted(server, 'API reference')
  await untilReady(server)
  const [ADMIN_TOKEN = ''] = /^eyJ\S+$/m.exec(server.output()) ?? []
  const { PATH = '' } = process.env
  const environment: Record<string, string> = {
    PATH,
    GRANTD: server.baseUrl,
    ISSUER: server.baseUrl,
    SITE: `${server.baseUrl}/v1/sites/acme/app-registrations`,
    AUTH: `Authorization: Bearer ${ADMIN_TOKEN}`
  }
  const [create = '', ...life] = commandsOf('administer.md')
  t.ok(life.length > 5)
  const others = ['clients.md', 'notices.md', 'audit.md'].flatMap(commandsOf)
  for (const command of [create, ...others, ...life]) {
    const current = command
      .replace('hooks.example.com', 'localhost')
      .replace(/2027-\d\d-\d\dT[\d:]+Z/, inDays(300))
      .replace(/2028-\d\d-\d\dT[\d:]+Z/, inDays(600))
    const stdout = await runInShell(PRELUDE + current, environment)
    t.notMatch(stdout, /^FAILED/, command)
    // As a reader does, take the ids and secrets of an answer for the commands that follow.
    for (const [, member = '', value = ''] of stdout.matchAll(/"(clientId|clientSecret|receiverId)":"([^"]*)"/g)) {
      environment[member.replace(/[A-Z]/, '_$&').toUpperCase()] ??= value
      if (member === 'clientSecret') environment['CLIENT_SECRET'] = value
    }
  }
})

/** Returns standard output, with `FAILED` before it when the status is not 0. */
async function runInShell(script: string, env: Record<string, string>): Promise<string> {
  const child = await promisify(execFile)('sh', ['-c', script], { env }).catch(error => ({
    stdout: `FAILED ${error.stderr} ${error.stdout}`
  }))
  return child.stdout
}
