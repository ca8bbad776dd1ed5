import { installPackages } from '../fixtures/run/packages.ts'
import { runWithPrograms } from '../fixtures/run/runner.ts'
import { FOLDER } from './node-program.ts'

/**
 * `npm run test:verifiers`: the examples of docs/resource-servers.md, in unmodified programs of other people, verify
 * tokens of grantd, and a client library of Debian obtains them. The programs come from npm, by the lockfile beside this
 * file, and from Debian.
 *
 *   npm run test:verifiers -- nginx   # the files whose name has this word
 */
installPackages(import.meta.dirname, FOLDER)
await runWithPrograms('test/verifiers/*.verifier.ts')
