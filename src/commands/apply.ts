import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { processConfig } from '../config/config.ts'
import { applyDeclarations, isRefused } from './apply/apply-declarations.ts'
import { type Declarations, readDeclarations } from './apply/declarations.ts'
import { KeyedRegistrations } from './apply/keyed-registrations.ts'
import { linesOf, type Outcome, summaryOf } from './apply/outcome.ts'
import { SecretsFile } from './apply/secrets-file.ts'
import { calledService } from './called-service.ts'
import { run } from './run.ts'

/**
 * `npm run apply -- registrations.yaml`: makes the keyed registrations of a Site what a file says.
 * Exits with 1 when a registration is refused, and with 2 when the file is wrong or grantd cannot be reached.
 */

const USAGE =
  'usage: npm run apply -- registrations.yaml [--dry-run] [--prune [--unused-for P7D]] [--allow-shorter] [--secrets-file new-file]'
const REFUSED = 1
const COULD_NOT_APPLY = 2
const STANDARD_INPUT = 0

await run(
  async () => {
    const { file, dryRun, secretsFile, ...rest } = readOptions()
    const declarations = readFile(file)
    if (rest.prunes && declarations.registrations.length === 0) {
      throw new Error(`${file}: has no registrations, and --prune would delete all`)
    }
    const service = calledService(processConfig('call'))
    const registrations = new KeyedRegistrations(service.baseUrl, await service.adminToken(), declarations.site)
    const secrets = secretsFile === undefined || dryRun ? undefined : new SecretsFile(secretsFile)
    const options = { ...rest, dryRun, secrets, keepsSecrets: secretsFile !== undefined }
    const outcomes: Outcome[] = []
    process.stdout.write(`Site ${declarations.site} of ${service.baseUrl}\n`)
    try {
      for await (const outcome of applyDeclarations(registrations, declarations, options)) {
        outcomes.push(outcome)
        process.stdout.write(`${linesOf(outcome, dryRun)}\n`)
      }
    } finally {
      secrets?.close()
    }
    return { output: summaryOf(outcomes, dryRun), exitCode: outcomes.some(isRefused) ? REFUSED : 0 }
  },
  'not applied',
  COULD_NOT_APPLY
)

/** @throws Error that shows how the command is used */
function readOptions() {
  const { values, positionals } = parseWords()
  const [file, ...others] = positionals
  if (file === undefined || others.length > 0) throw new Error(USAGE)
  return {
    file,
    dryRun: values['dry-run'],
    prunes: values.prune,
    unusedFor: values['unused-for'],
    allowShorter: values['allow-shorter'],
    secretsFile: values['secrets-file']
  }
}

function parseWords() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        'dry-run': { type: 'boolean', default: false },
        prune: { type: 'boolean', default: false },
        'unused-for': { type: 'string', default: 'P7D' },
        'allow-shorter': { type: 'boolean', default: false },
        'secrets-file': { type: 'string' }
      }
    })
  } catch (error) {
    throw new Error(`${error instanceof Error ? error.message : String(error)}\n${USAGE}`)
  }
}

/** @param file its path, or `-` for the standard input */
function readFile(file: string): Declarations {
  try {
    return readDeclarations(readFileSync(file === '-' ? STANDARD_INPUT : file, 'utf8'))
  } catch (error) {
    throw new Error(`${file}: ${error instanceof Error ? error.message : String(error)}`)
  }
}
