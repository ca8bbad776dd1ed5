import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { globSync } from 'node:fs'
import path from 'node:path'
import { Parser, type Result } from 'tap-parser'
import { installPackages } from '../fixtures/run/packages.ts'
import { ROOT } from '../fixtures/run/paths.ts'
import { FOLDER } from './node-program.ts'

/**
 * `npm run test:verifiers`: the examples of docs/resource-servers.md, in unmodified programs of other people, verify
 * tokens of grantd, and a client library of Debian obtains them. The programs come from npm, by the lockfile beside this
 * file, and from Debian, when this runs as root on Debian. A program that is not there is left out, and the run fails,
 * unless `--allow-left-out` is given.
 *
 *   npm run test:verifiers -- nginx   # the files whose name has this word
 */

const ALLOW_LEFT_OUT = '--allow-left-out'
const words = process.argv.slice(2).filter(argument => argument !== ALLOW_LEFT_OUT)
const files = globSync('test/verifiers/*.verifier.ts', { cwd: ROOT })
  .filter(file => words.every(word => path.basename(file).includes(word)))
  .sort()

installPackages(import.meta.dirname, FOLDER)

const counts = { ok: 0, failed: 0, leftOut: 0 }
const tap = spawn(
  process.execPath,
  [path.join(ROOT, 'node_modules/.bin/tap'), '--reporter=tap', '--jobs=1', ...files],
  {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'inherit']
  }
)
const parser = new Parser()
parser.on('child', (file: Parser) => file.on('assert', report))
tap.stdout.pipe(parser)
await once(parser, 'complete')

process.stdout.write(`${counts.ok} ok, ${counts.failed} failed, ${counts.leftOut} left out\n`)
const isComplete = counts.leftOut === 0 || process.argv.includes(ALLOW_LEFT_OUT)
if (!isComplete) process.stdout.write(`What is left out counts as a failure, unless ${ALLOW_LEFT_OUT} is given.\n`)
process.exitCode = counts.failed === 0 && counts.ok > 0 && isComplete ? 0 : 1

function report({ ok, name, skip }: Result): void {
  const isLeftOut = skip !== undefined && skip !== false
  counts[isLeftOut ? 'leftOut' : ok ? 'ok' : 'failed']++
  process.stdout.write(`${isLeftOut ? String(skip) : ok ? 'ok' : 'FAILED'}: ${name.replace(/ # time=.*/, '')}\n`)
}
