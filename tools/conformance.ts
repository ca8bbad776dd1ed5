import { spawnSync } from 'node:child_process'
import { globSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { Parser, type Result } from 'tap-parser'
import { CLAUSES } from '../test/conformance/clauses.ts'

/** `npm run conformance`: prints a table of RFC clauses, their tests and their results. */

const ROOT = path.join(import.meta.dirname, '..')
/** Every file of tests that hold a clause. */
const FILES = globSync('test/conformance/*.test.ts', { cwd: ROOT })
  .filter(file => readFileSync(path.join(ROOT, file), 'utf8').includes("from './clause.ts'"))
  .sort()

const results = new Map<string, { file: string; isMet: boolean }>()
const run = spawnSync('npx', ['tap', '--reporter=tap', ...FILES], { cwd: ROOT, encoding: 'utf8' })
const parser = new Parser()
parser.on('child', (file: Parser) => {
  file.on('assert', ({ ok, name }: Result) => {
    const [, id] = /^\[RFC ([^\]]+)\]/.exec(name) ?? []
    if (id !== undefined) results.set(id, { file: file.name, isMet: ok })
  })
})
parser.end(run.stdout)

process.stdout.write('| RFC | clause | requirement | test | result |\n|---|---|---|---|---|\n')
let unmet = 0
for (const { id, requirement, isBuilt } of CLAUSES) {
  const [rfc = '', section = ''] = id.split(' ')
  const result = results.get(id)
  if (isBuilt && result?.isMet !== true) unmet++
  const outcome = isBuilt ? (result?.isMet === true ? 'met' : 'NOT MET') : 'not built'
  process.stdout.write(`| ${rfc} | ${section} | ${requirement} | ${result?.file ?? '–'} | ${outcome} |\n`)
}
const built = CLAUSES.filter(({ isBuilt }) => isBuilt).length
process.stdout.write(`\n${built - unmet} met, ${unmet} not met, ${CLAUSES.length - built} not built\n`)
if (unmet > 0) process.stderr.write(`For the failures: npx tap ${FILES.join(' ')}\n`)
process.exitCode = unmet > 0 ? 1 : 0
