import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'

/** Copies the commands of CONTRIBUTING.md into AGENTS.md. */

const ROOT = path.join(import.meta.dirname, '..')
const AGENTS_FILE = path.join(ROOT, 'AGENTS.md')
const COMMANDS = /(?<=^## Commands\n\n)[\s\S]*?(?=^## )/m

/** Returns the page with the blocks of commands that another page has below "## Commands". @throws Error when one has none */
export function withCommands(page: string, contributing: string): string {
  const [section = ''] = COMMANDS.exec(contributing) ?? []
  const blocks = section.match(/^```sh\n[\s\S]*?^```\n/gm)
  if (blocks === null || !COMMANDS.test(page)) throw new Error('CONTRIBUTING.md and AGENTS.md need "## Commands"')
  return page.replace(COMMANDS, () => `${blocks.join('\n')}\n`)
}

/** Returns AGENTS.md as it stands, and as it should be. */
export function agentsPage(): { page: string; wanted: string } {
  const page = readFileSync(AGENTS_FILE, 'utf8')
  return { page, wanted: withCommands(page, readFileSync(path.join(ROOT, 'CONTRIBUTING.md'), 'utf8')) }
}

if (process.argv[1] === import.meta.filename) writeFileSync(AGENTS_FILE, agentsPage().wanted)
