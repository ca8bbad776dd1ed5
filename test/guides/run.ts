import { runWithPrograms } from '../fixtures/run/runner.ts'

/**
 * `npm run test:guides`: the programs of docs/clients.md get tokens from a real service, and from one that refuses. zsh
 * loads the completion of the command line. Compilers and shells are Debian packages.
 */

await runWithPrograms('test/guides/*.guide.ts')
