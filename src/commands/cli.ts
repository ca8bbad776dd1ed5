import { ConfigError, processConfig } from '../config/config.ts'
import { calledService } from './called-service.ts'
import { UsageError } from './cli/arguments.ts'
import { runCommandLine } from './cli/command-line.ts'
import { readOperations } from './cli/description.ts'
import { explain } from './run.ts'

/**
 * `npm run cli -- <operationId> [--option value …] [-f body.yaml]`: calls an operation of openapi.yaml.
 * Exits with 1 when grantd refuses the request, cannot be reached or answers something else, and with 2 when the command or
 * its configuration is wrong.
 */

const FAILED = 1
const WRONG_USAGE = 2

const [, script = '', ...words] = process.argv
try {
  await runCommandLine(words, {
    operations: readOperations,
    service: () => calledService(processConfig('call')),
    command: [process.execPath, script],
    print: text => process.stdout.write(`${text}\n`),
    note: text => process.stderr.write(`${text}\n`)
  })
} catch (error) {
  process.stderr.write(`${explain(error)}\n`)
  process.exitCode = error instanceof UsageError || error instanceof ConfigError ? WRONG_USAGE : FAILED
}
