import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { describeConfig } from '../src/config/config.ts'

/** Writes the tables of docs/configuration.md from the variables that src/config reads. */

export const CONFIGURATION_FILE = path.join(import.meta.dirname, '../docs/configuration.md')

/** A table of docs/configuration.md: the markers name the variables it lists, as a pattern. */
const TABLE = /(<!-- variables: (.+) -->\n)[\s\S]*?(<!-- end -->)/g

/** Returns this page with each table as the code has it. A variable is listed by the first table whose pattern fits. */
export function withConfiguration(page: string): string {
  const left = new Map(describeConfig().map(variable => [variable.name, variable]))
  return page.replace(TABLE, (_, start: string, pattern: string, end: string) => {
    const names = [...left.keys()].filter(name => new RegExp(`^(?:${pattern})$`).test(name))
    const rows = names.map(name => {
      const variable = left.get(name)
      left.delete(name)
      return `| \`${name}\`${variable?.isSecret ? ' ¹' : ''} | ${variable?.meaning} | ${variable?.fallback} |`
    })
    return `${start}\n| variable | meaning | default |\n|---|---|---|\n${rows.join('\n')}\n\n${end}`
  })
}

if (process.argv[1] === import.meta.filename) {
  writeFileSync(CONFIGURATION_FILE, withConfiguration(readFileSync(CONFIGURATION_FILE, 'utf8')))
}
