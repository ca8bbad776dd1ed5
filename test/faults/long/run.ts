import { spawn } from 'node:child_process'
import { globSync } from 'node:fs'
import path from 'node:path'
import { Parser, type Result } from 'tap-parser'
import { ROOT } from '../../fixtures/run/paths.ts'

/**
 * Runs every fault, one after the other, and prints a line for each: its number in docs/security/threats.md, what was
 * done and what must hold, what was measured, ok or FAILED. A fault that this machine cannot inject is left out, and the run fails,
 * unless `--allow-left-out` is given. `npm run test:faults -- patroni` runs the files with that in their name.
 */

/** Where each number of docs/security/threats.md is proven: by all tests of a file, or by those with a text in their name. */
const FAULTS: readonly (readonly [number: string, file: string, name?: string])[] = [
  ['1', 'test/faults/long/rolling-restart.fault.ts'],
  ['2', 'test/faults/long/instance-killed.fault.ts'],
  ['2', 'test/faults/workers.test.ts'],
  ['2', 'test/faults/long/revocations-killed.fault.ts'],
  ['3', 'test/faults/long/postgres-restarts.fault.ts'],
  ['4', 'test/faults/database-away.test.ts'],
  ['4', 'test/faults/long/postgres-away.fault.ts'],
  ['5', 'test/faults/long/broken-connections.fault.ts'],
  ['5', 'test/database/site-scoped-pool.test.ts', 'half-open connections'],
  ['5', 'test/database/pipelined-connection.test.ts', 'after a cut'],
  ['6', 'test/faults/long/slow-postgres.fault.ts'],
  ['6', 'test/faults/long/exhausted.fault.ts'],
  ['7', 'test/faults/long/primary-lost.fault.ts'],
  ['7', 'test/faults/long/patroni.fault.ts'],
  ['8', 'test/faults/long/no-writes.fault.ts'],
  ['8', 'test/faults/long/disk-full.fault.ts'],
  ['9', 'test/registrations/idempotency/service.test.ts', ' commit'],
  ['10', 'test/faults/long/starts-at-once.fault.ts'],
  ['11', 'test/faults/long/notices.fault.ts'],
  ['12', 'test/notifications/outbox/outbox.test.ts', 'no other'],
  ['12', 'test/notifications/channels/guarded-post.test.ts', 'cut'],
  ['13', 'test/faults/long/clock-jumps.fault.ts'],
  ['14', 'test/faults/long/many-registrations.fault.ts'],
  ['15', 'test/faults/long/soak.fault.ts'],
  ['rows', 'test/faults/long/rows.fault.ts'],
  ['rows', 'test/faults/long/introspections.fault.ts'],
  ['upgrade', 'test/faults/long/upgrade.fault.ts'],
  ['flood', 'test/faults/long/flood.fault.ts'],
  ['flood', 'test/faults/long/cold-flood.fault.ts']
]

/** Files without a number are run too. */
const known = new Set(FAULTS.map(([, file]) => file))
const others = globSync('test/faults/**/*.{test,fault}.ts', { cwd: ROOT }).filter(file => !known.has(file))

/** Given when a fault that this machine cannot inject is no reason to fail. */
const ALLOW_LEFT_OUT = '--allow-left-out'
const args = process.argv.slice(2)
const [only = ''] = args.filter(arg => arg !== ALLOW_LEFT_OUT)
const files = [...FAULTS, ...others.sort().map(file => ['-', file] as const)].filter(([, file]) => file.includes(only))

const counts = { ok: 0, failed: 0, leftOut: 0 }
const started = Date.now()
for (const [number, file, name] of files) await run(number, file, name)
const minutes = ((Date.now() - started) / 60_000).toFixed(1)
const leftOut = counts.leftOut === 0 ? 'nothing left out' : `${counts.leftOut} LEFT OUT`
process.stdout.write(`${counts.ok} ok, ${counts.failed} failed, ${leftOut}; ${minutes} minutes\n`)
if (counts.leftOut > 0 && !args.includes(ALLOW_LEFT_OUT)) {
  process.stdout.write(`What is left out counts as a failure, unless ${ALLOW_LEFT_OUT} is given.\n`)
  process.exit(1)
}
process.exit(counts.failed === 0 ? 0 : 1)

async function run(number: string, file: string, named = ''): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const command = [path.join(ROOT, 'node_modules/.bin/tap'), '--reporter=tap', '--jobs=1', '--timeout=3600', file]
  const tap = spawn(process.execPath, command, {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'inherit']
  })
  const parser = new Parser()
  let tests = 0
  parser.on('child', (ofFile: Parser) => {
    const measured: string[] = []
    const failures: string[] = []
    ofFile.on('child', (test: Parser) => listen(test, measured, failures))
    ofFile.on('assert', (result: Result) => {
      if (!result.ok || result.name.includes(named)) {
        tests++
        report(number, result, measured, failures)
      }
      measured.length = 0
      failures.length = 0
    })
  })
  parser.on('complete', () => {
    if (tests === 0) {
      process.stdout.write(`#${number} ${file}: nothing was tested: FAILED\n`)
      counts.failed++
    }
    resolve()
  })
  tap.stdout.pipe(parser)
  await promise
}

/** Collects the comments and the failures of a test and of the tests within it. */
function listen(test: Parser, measured: string[], failures: string[]): void {
  test.on('comment', (comment: string) => {
    if (!/^# (Subtest|time=|No coverage|\{)/.test(comment)) measured.push(comment.replace(/^# /, '').trim())
  })
  test.on('child', (inner: Parser) => listen(inner, measured, failures))
  test.on('assert', ({ ok, name }: Result) => {
    if (!ok) failures.push(name)
  })
}

function report(
  number: string,
  { ok, name, skip }: Result,
  measured: readonly string[],
  failures: readonly string[]
): void {
  const what = `#${number} ${name.replace(/ # time=.*/, '')}`
  if (skip !== undefined && skip !== false) {
    counts.leftOut++
    process.stdout.write(`${what}: ${String(skip)}\n`)
    return
  }
  counts[ok ? 'ok' : 'failed']++
  const details = [...measured, ...(ok ? [] : failures)].join(' | ')
  process.stdout.write(`${what}: ${details === '' ? '' : `${details}: `}${ok ? 'ok' : 'FAILED'}\n`)
}
