import { readFileSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'

/**
 * Keeps what a run has printed in docs/security/evidence.md, with machine and date:
 * `npm run --silent test:timing | npx node tools/evidence.ts timing`.
 */

const EVIDENCE_FILE = path.join(import.meta.dirname, '../docs/security/evidence.md')

/** Returns this page with the output of a run in the section of this name. @throws Error when there is no such section */
export function withEvidence(page: string, section: string, output: string, where: string): string {
  const place = new RegExp(`(<!-- ${section} -->\n)[\\s\\S]*?(<!-- end -->)`)
  if (!place.test(page)) throw new Error(`docs/security/evidence.md has no section ${section}`)
  return page.replace(
    place,
    (_, start: string, end: string) => `${start}\n${where}\n\n\`\`\`\n${output.trim()}\n\`\`\`\n\n${end}`
  )
}

function here(): string {
  const cpu = os.cpus()[0]?.model.trim() ?? 'unknown CPU'
  const day = new Date().toISOString().slice(0, 10)
  return `${day}, ${cpu}, ${os.availableParallelism()} cores, ${os.type()} ${os.release()}, Node ${process.version}.`
}

if (process.argv[1] === import.meta.filename) {
  const output = readFileSync(0, 'utf8')
  process.stdout.write(output)
  writeFileSync(EVIDENCE_FILE, withEvidence(readFileSync(EVIDENCE_FILE, 'utf8'), process.argv[2] ?? '', output, here()))
}
