import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'

/**
 * Mutation testing: Stryker changes a source file in every way it knows, one at a time, and the tests named here must
 * notice. `npm run test:mutation -- src/tokens/scope.ts` for one file; without names, the pure ones.
 *
 * Stryker is installed beside the cache, not as a dependency: 110 packages that nothing else needs. Its tap runner
 * asks for a build; the command runner takes the sources as they are.
 */

const STRYKER = '@stryker-mutator/core@10.1.1'
const LEAST_SCORE = 85
const ROOT = path.join(import.meta.dirname, '..')
const FOLDER = path.join(ROOT, 'node_modules/.cache/stryker')

/** Without a database: a fraction of a second for each mutant. */
const PURE: Record<string, readonly string[]> = {
  'src/tokens/scope.ts': ['test/tokens/scope.test.ts'],
  'src/tokens/token-request.ts': ['test/tokens/token-request.test.ts'],
  'src/tokens/failure-brake.ts': ['test/tokens/failure-brake.test.ts'],
  'src/admin/access.ts': ['test/admin/access.test.ts'],
  'src/registrations/lifecycle.ts': ['test/registrations/lifecycle.test.ts'],
  'src/registrations/cursor.ts': ['test/registrations/cursor.test.ts']
}

/** With a database of their own, started for each mutant: seconds each, so only by name. */
const WITH_DATABASE: Record<string, readonly string[]> = {
  'src/tokens/access-token.ts': ['test/tokens/access-token.test.ts'],
  'src/tokens/client-authentication.ts': ['test/tokens/routes.test.ts', 'test/attacks/token-endpoint.test.ts'],
  'src/tokens/credentials.ts': ['test/tokens/credentials.test.ts', 'test/faults/database-away.test.ts'],
  'src/tokens/exchange.ts': ['test/tokens/routes.test.ts', 'test/faults/database-away.test.ts'],
  'src/tokens/oauth-error.ts': ['test/tokens/routes.test.ts'],
  'src/tokens/routes.ts': ['test/tokens/routes.test.ts'],
  'src/tokens/verified-secrets.ts': ['test/tokens/routes.test.ts', 'test/registrations/routes.test.ts']
}

const named = process.argv.slice(2)
const files = named.length === 0 ? Object.keys(PURE) : named
install()
let hasFailed = false
for (const file of files) {
  const score = await mutate(file)
  console.log(`${file}: ${score.toFixed(1)} %\n`)
  if (score < LEAST_SCORE) hasFailed = true
}
process.exit(hasFailed ? 1 : 0)

function install(): void {
  if (existsSync(path.join(FOLDER, 'node_modules/@stryker-mutator/core'))) return
  mkdirSync(FOLDER, { recursive: true })
  writeFileSync(path.join(FOLDER, 'package.json'), '{ "private": true }\n')
  const options = ['--prefix', FOLDER, '--no-audit', '--no-fund', '--ignore-scripts']
  execFileSync('npm', ['install', ...options, STRYKER], { stdio: 'inherit' })
}

/** @returns share of the mutants that the tests notice, in percent */
async function mutate(file: string): Promise<number> {
  const tests = PURE[file] ?? WITH_DATABASE[file]
  if (tests === undefined) throw new Error(`tools/mutation.ts names no tests for ${file}`)
  const report = path.join(FOLDER, 'report.json')
  const config = path.join(FOLDER, 'stryker.config.json')
  writeFileSync(config, JSON.stringify(configuration(file, commandOf(file, tests), report)))
  const stryker = path.join(FOLDER, 'node_modules/@stryker-mutator/core/bin/stryker.js')
  execFileSync(process.execPath, [stryker, 'run', config], { cwd: ROOT, stdio: 'inherit' })
  return scoreOf(JSON.parse(readFileSync(report, 'utf8')))
}

/** Pure tests need no runner of tests; the others need the one that starts Postgres. */
function commandOf(file: string, tests: readonly string[]): string {
  if (!(file in PURE)) return `npx tap --bail ${tests.join(' ')}`
  return tests.map(test => `TAP_BAIL=1 node ${test}`).join(' && ')
}

function configuration(file: string, command: string, report: string): Record<string, unknown> {
  return {
    testRunner: 'command',
    commandRunner: { command },
    mutate: [file],
    concurrency: file in PURE ? 2 : 1,
    checkers: [],
    plugins: [],
    // There is none of this name: Stryker would read ours by an interface that TypeScript 7 no longer has.
    tsconfigFile: 'none.json',
    ignorePatterns: ['.git', '.tap/grantd', '.tap/processinfo', '.tap/coverage', '.tap/mutation', '.ci', 'data'],
    // Not below node_modules, where Node strips no types.
    tempDirName: '.tap/mutation',
    reporters: ['clear-text', 'json'],
    allowConsoleColors: false,
    clearTextReporter: { allowColor: false, logTests: false },
    jsonReporter: { fileName: report },
    timeoutMS: 20_000
  }
}

interface Report {
  files: Record<string, { mutants: { status: string }[] }>
}

function scoreOf({ files }: Report): number {
  const statuses = Object.values(files).flatMap(({ mutants }) => mutants.map(({ status }) => status))
  const noticed = statuses.filter(status => status === 'Killed' || status === 'Timeout').length
  const missed = statuses.filter(status => status === 'Survived' || status === 'NoCoverage').length
  return (100 * noticed) / (noticed + missed)
}
