import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { processConfig } from '../config/config.ts'
import { readUnusedFor, UNUSED_FOR_FAULT } from '../registrations/unused-guard.ts'
import { applyDeclarations } from './apply/apply-declarations.ts'
import { type Declarations, readDeclarations } from './apply/declarations.ts'
import { interruptionOf } from './apply/interruption.ts'
import { KeyedRegistrations } from './apply/keyed-registrations.ts'
import { isRefused, linesOf, type Outcome, summaryOf } from './apply/outcome.ts'
import { prune } from './apply/prune.ts'
import { SecretsFile } from './apply/secrets-file.ts'
import { calledService } from './called-service.ts'
import { run } from './run.ts'

/**
 * `npm run apply -- registrations.yaml`: makes the keyed registrations of a Site what a file says.
 * Exits with 1 when a registration is refused, and with 2 when the file is wrong or grantd cannot be reached.
 */

const USAGE =
  'usage: npm run apply -- registrations.yaml [--dry-run] [--prune [--unused-for P7D]] [--allow-shorter] [--secrets-file new-file]'
const HELP = `${USAGE}

Makes the keyed registrations of a Site what a file of YAML or JSON says ("-" reads the standard input).

  --dry-run            asks grantd what would happen, and stores nothing
  --prune              deletes the registrations whose key is not in the file
  --unused-for P7D     with --prune: none that was used in this time
  --allow-shorter      lets expiresAt move back
  --secrets-file path  a new file for Client secrets and claim tickets

GRANTD_URL and GRANTD_TOKEN, or GRANTD_TOKEN_FILE, name grantd and an administrator's token.
Exits with 1 when a registration is refused, and with 2 when the file is wrong, grantd cannot be reached or the token gives no right.
docs/declare.md has an example.`
const REFUSED = 1
const COULD_NOT_APPLY = 2
const STANDARD_INPUT = 0

await run(
  async () => {
    const options = readOptions()
    if (options === undefined) return HELP
    const { file, dryRun, prunes, unusedFor, allowShorter, secretsFile } = options
    const declarations = readFile(file)
    if (prunes && declarations.registrations.length === 0) {
      throw new Error(`${file}: has no registrations, and --prune would delete all`)
    }
    const service = calledService(processConfig('call'))
    const registrations = new KeyedRegistrations(service.baseUrl, await service.adminToken(), declarations.site)
    // A dry run makes the file too, and removes it, so that it fails when the run would.
    const secrets = secretsFile === undefined ? undefined : new SecretsFile(secretsFile)
    const interruption = interruptionOf(COULD_NOT_APPLY)
    const outcomes: Outcome[] = []
    const report = async (coming: AsyncIterable<Outcome>) => {
      for await (const outcome of coming) {
        outcomes.push(outcome)
        process.stdout.write(`${linesOf(outcome, dryRun)}\n`)
      }
    }
    process.stdout.write(`Site ${declarations.site} of ${service.baseUrl}\n`)
    try {
      await report(applyDeclarations(registrations, declarations, { dryRun, allowShorter, secrets, interruption }))
      // The new name of a renamed registration may be among the refused.
      const skipsPruning = prunes && outcomes.some(isRefused)
      if (skipsPruning) process.stdout.write('Nothing is pruned, because an entry was refused\n')
      const keys = new Set(declarations.registrations.map(({ key }) => key))
      if (prunes && !skipsPruning) await report(prune(registrations, keys, { dryRun, unusedFor, interruption }))
    } finally {
      secrets?.close()
    }
    return { output: summaryOf(outcomes, dryRun), exitCode: outcomes.some(isRefused) ? REFUSED : 0 }
  },
  'not applied',
  COULD_NOT_APPLY
)

/** Returns undefined when help is asked for. @throws Error that shows how the command is used */
function readOptions() {
  const { values, positionals } = parseWords()
  if (values.help) return undefined
  const { prune: prunes, 'unused-for': unusedFor } = values
  if (unusedFor !== undefined && !prunes) throw new Error('--unused-for belongs to --prune, which is not there')
  const [file, ...others] = positionals
  if (file === undefined || others.length > 0) throw new Error(USAGE)
  return {
    file,
    dryRun: values['dry-run'],
    prunes,
    unusedFor: unusedFor === undefined ? 'P7D' : duration(unusedFor),
    allowShorter: values['allow-shorter'],
    secretsFile: values['secrets-file']
  }
}

function parseWords() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        help: { type: 'boolean', short: 'h', default: false },
        'dry-run': { type: 'boolean', default: false },
        prune: { type: 'boolean', default: false },
        'unused-for': { type: 'string' },
        'allow-shorter': { type: 'boolean', default: false },
        'secrets-file': { type: 'string' }
      }
    })
  } catch (error) {
    throw new Error(`${error instanceof Error ? error.message : String(error)}\n${USAGE}`)
  }
}

function duration(unusedFor: string): string {
  try {
    readUnusedFor({ recordsUse: true }, { unusedFor })
    return unusedFor
  } catch {
    throw new Error(`--unused-for ${UNUSED_FOR_FAULT}`)
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
