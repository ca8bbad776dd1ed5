import { runWithToolchains } from '../fixtures/faults/toolchains.ts'

/**
 * `npm run test:guides`: the programs of docs/clients.md get tokens from a real service, and from one that refuses.
 * Compilers are Debian packages.
 */

await runWithToolchains('test/guides/*.guide.ts')
