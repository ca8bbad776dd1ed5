import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { describeConfig } from '../src/config/config.ts'

/** Writes the table of configuration into README.md. */

export const README_FILE = path.join(import.meta.dirname, '../README.md')

const TABLE = /(<!-- configuration: npm run readme -->\n)[\s\S]*?(<!-- end -->)/

/** @returns this README with the table as the code has it */
export function withConfiguration(readme: string): string {
  const rows = describeConfig().map(
    ({ name, meaning, fallback, isSecret }) => `| \`${name}\`${isSecret ? ' ¹' : ''} | ${meaning} | ${fallback} |`
  )
  return readme.replace(TABLE, `$1\n| variable | meaning | default |\n|---|---|---|\n${rows.join('\n')}\n\n$2`)
}

if (process.argv[1] === import.meta.filename) {
  writeFileSync(README_FILE, withConfiguration(readFileSync(README_FILE, 'utf8')))
}
