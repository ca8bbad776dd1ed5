import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { existsSync, globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { READY_FILE, ROOT, TEST_FOLDER } from '../test/fixtures/run/paths.ts'

/**
 * Mutation testing: Stryker makes one change after the other to a source file, and the tests that are named here must
 * fail on each. `npm run test:mutation -- src/oauth/token/scope.ts` is for one file. Without names, all files below are tested.
 *
 * Stryker is not a dependency, because nothing else needs its 110 packages. It is installed into a cache. Its tap runner
 * needs a build, so the command runner is used.
 */

const STRYKER = '@stryker-mutator/core@10.1.1'
const LEAST_SCORE = 85
const FOLDER = path.join(ROOT, 'node_modules/.cache/stryker')

/** The tests that hold each file. Tests without a database come first, because the first failure ends a mutant. */
const TESTS: Record<string, readonly string[]> = {
  'src/oauth/token/scope.ts': ['oauth/token/scope'],
  'src/oauth/token/request.ts': ['oauth/token/request'],
  'src/concurrency/bounded-map.ts': ['concurrency/bounded-map'],
  'src/oauth/client-authentication/authenticate.ts': ['oauth/client-authentication/authenticate', 'oauth/token/routes'],
  'src/oauth/client-authentication/match-credential.ts': ['oauth/client-authentication/match-credential'],
  'src/oauth/client-authentication/lost-mac-key.ts': ['oauth/client-authentication/lost-mac-key'],
  'src/oauth/client-authentication/failure-limiter.ts': ['oauth/client-authentication/failure-limiter'],
  'src/credentials/secret-mac.ts': ['credentials/secret-mac'],
  'src/credentials/mac-keys.ts': ['credentials/mac-keys'],
  'src/oauth/token/cache/client-cache.ts': ['oauth/token/cache/client-cache'],
  'src/oauth/token/cache/client-lookup.ts': ['oauth/token/cache/client-lookup'],
  'src/oauth/plugin.ts': ['oauth/token/routes'],
  'src/oauth/client-authentication/authenticate-now.ts': ['oauth/introspection/routes'],
  'src/oauth/issued-tokens/issued-token.ts': ['oauth/issued-tokens/verified-tokens'],
  'src/oauth/issued-tokens/verified-tokens.ts': ['oauth/issued-tokens/verified-tokens'],
  'src/oauth/issued-tokens/standing.ts': ['oauth/issued-tokens/standing'],
  'src/oauth/issued-tokens/standings.ts': ['oauth/introspection/routes'],
  'src/oauth/issued-tokens/repository.ts': ['oauth/introspection/routes'],
  'src/oauth/issued-tokens/request.ts': ['oauth/introspection/routes'],
  'src/oauth/introspection/introspect.ts': ['oauth/introspection/outcome', 'oauth/introspection/routes'],
  'src/oauth/introspection/representation.ts': ['oauth/introspection/routes', 'conformance/dpop'],
  'src/oauth/introspection/routes.ts': ['openapi', 'oauth/introspection/outcome', 'oauth/introspection/routes'],
  'src/oauth/revocation/revoke.ts': ['oauth/revocation/routes'],
  'src/oauth/revocation/routes.ts': ['openapi', 'oauth/introspection/outcome', 'oauth/revocation/routes'],
  'src/oauth/token/access-token.ts': ['oauth/token/access-token', 'oauth/token/exchange'],
  'src/oauth/token/revalidation.ts': ['oauth/token/revalidation', 'oauth/token/exchange'],
  'src/oauth/form.ts': ['oauth/token/request'],
  'src/oauth/endpoint-scope.ts': ['openapi', 'http/metrics', 'oauth/token/routes'],
  'src/oauth/metrics.ts': ['http/metrics', 'oauth/metrics'],
  'src/oauth/client-authentication/methods.ts': ['oauth/token/request'],
  'src/oauth/client-authentication/client-secret-basic.ts': ['oauth/token/request'],
  'src/oauth/client-authentication/client-secret-post.ts': ['oauth/token/request'],
  'src/oauth/client-authentication/presented-client.ts': ['oauth/token/request'],
  'src/oauth/token/exchange.ts': ['oauth/token/exchange-ways', 'oauth/token/exchange', 'faults/database-away'],
  'src/oauth/token/decision.ts': ['oauth/token/cut-off-wait', 'oauth/token/exchange-ways', 'oauth/token/exchange'],
  'src/oauth/endpoint-url.ts': ['discovery/routes'],
  'src/oauth/dpop/binding.ts': ['oauth/dpop/binding'],
  'src/oauth/dpop/proof-checks.ts': ['oauth/dpop/binding'],
  'src/oauth/dpop/proof-key.ts': ['oauth/dpop/binding'],
  'src/oauth/dpop/target-uri.ts': ['oauth/dpop/target-uri'],
  'src/oauth/oauth-error.ts': ['oauth/token/routes', 'faults/database-away'],
  'src/oauth/token/routes.ts': ['openapi', 'oauth/token/exchange', 'http/metrics', 'oauth/token/routes'],
  'src/credentials/secret.ts': ['credentials/secret'],
  'src/admin-api/access.ts': ['admin-api/access'],
  'src/registrations/lifecycle.ts': ['registrations/lifecycle'],
  'src/admin-api/cursor.ts': ['admin-api/cursor']
}

/** Every file of src/oauth and src/credentials has its line, except schemas, which are data. */
const forgotten = globSync(['src/oauth/**/!(schemas).ts', 'src/credentials/!(metrics).ts'], { cwd: ROOT }).filter(
  file => !(file in TESTS)
)
if (process.argv.length === 2 && forgotten.length > 0)
  throw new Error(`tools/mutation.ts names no tests for ${forgotten.join(', ')}`)

const named = process.argv.slice(2)
const files = named.length === 0 ? Object.keys(TESTS) : named
install()
const postgres = holdPostgres()
const lines: string[] = []
let hasFailed = false
try {
  while (!existsSync(READY_FILE)) await sleep(50)
  for (const file of files) {
    const { mutants, score } = mutate(file)
    lines.push(`| \`${file}\` | ${mutants} | ${score.toFixed(1)} % |`)
    hasFailed ||= score < LEAST_SCORE
  }
} finally {
  postgres.kill('SIGTERM')
}
console.log(`| file | mutants | noticed |\n|---|---|---|\n${lines.join('\n')}`)
process.exit(hasFailed ? 1 : 0)

/** Starts one Postgres for all mutants. Each test has a database of its own in it. */
function holdPostgres(): ChildProcess {
  rmSync(TEST_FOLDER, { recursive: true, force: true })
  mkdirSync(TEST_FOLDER, { recursive: true })
  const holder = path.join(ROOT, 'test/fixtures/run/holder.ts')
  return spawn(process.execPath, [holder, String(process.pid)], { stdio: ['ignore', 'ignore', 'inherit'] })
}

function install(): void {
  if (existsSync(path.join(FOLDER, 'node_modules/@stryker-mutator/core'))) return
  mkdirSync(FOLDER, { recursive: true })
  writeFileSync(path.join(FOLDER, 'package.json'), '{ "private": true }\n')
  const options = ['--prefix', FOLDER, '--no-audit', '--no-fund', '--ignore-scripts']
  execFileSync('npm', ['install', ...options, STRYKER], { stdio: 'inherit' })
}

function mutate(file: string): Score {
  const tests = TESTS[file]
  if (tests === undefined) throw new Error(`tools/mutation.ts names no tests for ${file}`)
  const report = path.join(FOLDER, 'report.json')
  const config = path.join(FOLDER, 'stryker.config.json')
  writeFileSync(config, JSON.stringify(configuration(file, commandOf(tests), report)))
  const stryker = path.join(FOLDER, 'node_modules/@stryker-mutator/core/bin/stryker.js')
  execFileSync(process.execPath, [stryker, 'run', config], { cwd: ROOT, stdio: 'inherit' })
  return scoreOf(JSON.parse(readFileSync(report, 'utf8')))
}

/** Returns the command that tests a mutant. It runs in a copy of the repository, into which the address of Postgres is copied. */
function commandOf(tests: readonly string[]): string {
  const ready = path.relative(ROOT, READY_FILE)
  const copyAddress = `mkdir -p ${path.dirname(ready)} && cp ${READY_FILE} ${ready}`
  return [copyAddress, ...tests.map(test => `TAP_BAIL=1 node test/${test}.test.ts`)].join(' && ')
}

function configuration(file: string, command: string, report: string): Record<string, unknown> {
  return {
    testRunner: 'command',
    commandRunner: { command },
    mutate: [file],
    concurrency: 2,
    checkers: [],
    plugins: [path.join(import.meta.dirname, 'mutation-ignore.ts')],
    ignorers: ['texts'],
    // No such file exists. Stryker would read tsconfig.json by an interface that TypeScript 7 no longer has.
    tsconfigFile: 'none.json',
    ignorePatterns: ['.git', '.tap/grantd', '.tap/processinfo', '.tap/coverage', '.tap/mutation', '.ci', 'data'],
    // Not below node_modules, where Node strips no types.
    tempDirName: '.tap/mutation',
    reporters: ['clear-text', 'json'],
    allowConsoleColors: false,
    clearTextReporter: { allowColor: false, logTests: false },
    jsonReporter: { fileName: report },
    timeoutMS: 30_000
  }
}

interface Report {
  files: Record<string, { mutants: { status: string }[] }>
}

interface Score {
  mutants: number
  /** Share of the mutants that made a test fail, in percent. */
  score: number
}

function scoreOf({ files }: Report): Score {
  const statuses = Object.values(files).flatMap(({ mutants }) => mutants.map(({ status }) => status))
  const noticed = statuses.filter(status => status === 'Killed' || status === 'Timeout').length
  const missed = statuses.filter(status => status === 'Survived' || status === 'NoCoverage').length
  if (noticed + missed === 0) throw new Error('there was nothing to change')
  return { mutants: noticed + missed, score: (100 * noticed) / (noticed + missed) }
}
