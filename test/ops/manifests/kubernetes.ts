import { spawnSync } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import type { Json } from '../../fixtures/app/grantd.ts'
import { ROOT } from '../../fixtures/run/paths.ts'

/** Packages that hold schemas. Those of custom resources come after those of Kubernetes itself. */
const PACKAGES = ['kubernetes-models', '@kubernetes-models/prometheus-operator']
const COMPILER_OPTIONS = [
  ...['--ignoreConfig', '--noEmit', '--strict', '--skipLibCheck', '--module', 'nodenext', '--target', 'es2024'],
  ...['--types', '']
]

/**
 * Validates objects against the schemas of Kubernetes. The schemas accept fields that they do not know, as the API does
 * with a warning. The compiler finds these by the types that were made of the same schemas.
 *
 * @param folder that has the packages
 * @returns one line for each fault
 */
export async function faultsOf(folder: string, objects: readonly Json[]): Promise<string[]> {
  const faults = await Promise.all(objects.map(object => schemaFaults(folder, object)))
  return [...faults.flat(), ...typeFaults(folder, objects)]
}

async function schemaFaults(folder: string, object: Json): Promise<string[]> {
  const name = `${object.kind} ${object.metadata?.name}`
  const found = schemaOf(folder, object)
  if (found === undefined) return [`${name}: no schema for ${object.apiVersion}`]
  const { [String(object.kind)]: Model } = await import(path.join(folder, 'node_modules', `${found}.js`))
  try {
    new Model(object).validate()
    return []
  } catch (error) {
    return [`${name}: ${error instanceof Error ? error.message : String(error)}`]
  }
}

/** Returns the module of a kind. */
function schemaOf(folder: string, { apiVersion, kind }: Json): string | undefined {
  return PACKAGES.map(name => `${name}/${apiVersion}/${kind}`).find(module =>
    existsSync(path.join(folder, 'node_modules', `${module}.js`))
  )
}

function typeFaults(folder: string, objects: readonly Json[]): string[] {
  const lines = objects.map((object, index) => {
    const type = `import('${schemaOf(folder, object)}').I${object.kind}`
    return `export const object${index}: ${type} = ${JSON.stringify(object)}`
  })
  const file = path.join(folder, 'objects.ts')
  writeFileSync(file, lines.join('\n'))
  const compiler = path.join(ROOT, 'node_modules/.bin/tsc')
  // The runner of the tests gives each program a NODE_OPTIONS with a loader, in which the compiler does not start.
  const args = ['-u', 'NODE_OPTIONS', compiler, ...COMPILER_OPTIONS, file]
  const { status, stdout, stderr } = spawnSync('env', args, { cwd: folder, encoding: 'utf8' })
  const faults = stdout.split('\n').filter(line => line !== '')
  if (status !== 0 && faults.length === 0) throw new Error(`tsc ended with ${status}:\n${stderr}`)
  return faults
}
