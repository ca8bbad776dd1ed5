import { spawnSync } from 'node:child_process'
import { existsSync, globSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { RELEASES } from '../contract/document.ts'
import { installPackages } from '../fixtures/run/packages.ts'
import { ROOT } from '../fixtures/run/paths.ts'

/**
 * `npm run test:clients`: clients that generators make of openapi.yaml compile, the client of each release works with the
 * service of today, and stock clients get tokens.
 */

/** Not below test/, where the tests of the generators' own dependencies would be found. */
const FOLDER = path.join(ROOT, 'node_modules/.cache/clients')
const DESCRIPTION = path.join(ROOT, 'openapi.yaml')
const OUTPUT = path.join(FOLDER, 'generated')

/** Arguments of each generator, which writes `<name>.ts` into OUTPUT. */
const GENERATORS: Record<string, readonly string[]> = {
  'openapi-typescript': [DESCRIPTION, '-o', path.join(OUTPUT, 'openapi-typescript.ts')],
  orval: ['--input', DESCRIPTION, '--output', path.join(OUTPUT, 'orval.ts'), '--client', 'fetch'],
  oazapfts: [DESCRIPTION, path.join(OUTPUT, 'oazapfts.ts')],
  'swagger-typescript-api': ['generate', '--path', DESCRIPTION, '-o', OUTPUT, '-n', 'swagger-typescript-api.ts']
}
/** As strict as the users of a client may be. */
const COMPILER_OPTIONS = [
  ...['--ignoreConfig', '--strict', '--skipLibCheck', '--module', 'nodenext', '--target', 'es2024'],
  ...['--lib', 'es2024,dom,dom.iterable', '--types', '']
]

/** @returns what the command printed when it failed */
function run(command: string, args: readonly string[], cwd = FOLDER): string | undefined {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd, encoding: 'utf8' })
  return status === 0 ? undefined : `${path.basename(command)} ended with ${status}:\n${stdout}${stderr}`
}

/** @returns why the generator did not write `<name>.ts`, or why that does not compile */
function clientFault(generator: string, args: readonly string[], name = generator): string | undefined {
  const fault = run(path.join(FOLDER, 'node_modules/.bin', generator), args)
  if (fault !== undefined) return fault
  return existsSync(path.join(OUTPUT, `${name}.ts`)) ? compileFault(name) : 'it wrote no file'
}

/** Compiles the file to JavaScript beside it. @returns why that fails */
function compileFault(name: string): string | undefined {
  return run(path.join(ROOT, 'node_modules/.bin/tsc'), [...COMPILER_OPTIONS, path.join(OUTPUT, `${name}.ts`)])
}

/** @returns why a stock client fails its tests */
function testFault(file: string): string | undefined {
  return run(path.join(ROOT, 'node_modules/.bin/tap'), [file], ROOT)
}

installPackages(import.meta.dirname, FOLDER)
rmSync(OUTPUT, { recursive: true, force: true })
mkdirSync(OUTPUT)
writeFileSync(path.join(OUTPUT, 'control.ts'), 'export const count: number = "one"\n')
if (compileFault('control') === undefined) throw new Error('control: a file that must not compile does')

const faults = new Map<string, string | undefined>()
for (const [name, args] of Object.entries(GENERATORS)) faults.set(name, clientFault(name, args))
for (const version of RELEASES.keys()) {
  const name = `release-${version}`
  const document = path.join(ROOT, `test/contract/openapi-${version}.yaml`)
  const args = ['generate', '--path', document, '-o', OUTPUT, '-n', `${name}.ts`]
  faults.set(name, clientFault('swagger-typescript-api', args, name))
}
for (const file of globSync('test/clients/*.client.ts', { cwd: ROOT }).sort()) faults.set(file, testFault(file))

for (const [name, fault] of faults) {
  process.stdout.write(fault === undefined ? `ok   ${name}\n` : `FAIL ${name}: ${fault}\n`)
}
const failed = [...faults.values()].filter(fault => fault !== undefined).length
process.stdout.write(`\n${faults.size - failed} passed, ${failed} failed\n`)
process.exitCode = failed > 0 ? 1 : 0
